#pragma once

#include <llama.h>

#include <cstddef>
#include <cstdint>
#include <span>

/// The arithmetic of one token's logits. It is that of llama-perplexity, with the same types and the same
/// order of operations, so that the digits are the same. Pure.
namespace brimful::eval {

/// The negative logarithm of the probability of `token`.
[[nodiscard]] double negative_log_likelihood(std::span<const float> logits, llama_token token);

/// Number of 16-bit words that hold the log-probabilities of one token's `vocabulary` candidates in a file of
/// logits: four for scale and minimum, two 32-bit floats, and one for each candidate, rounded up to an even
/// number.
[[nodiscard]] constexpr std::size_t packed_words(std::size_t vocabulary) {
  return 2 * ((vocabulary + 1) / 2) + 4;
}

/// Writes the log-probabilities of all candidates to `packed`, 16 bits for each. Returns the negative
/// logarithm of the probability of `token`, in the precision that llama-perplexity uses there. Requires:
/// packed.size() is packed_words(logits.size()).
double pack_log_probabilities(std::span<const float> logits, llama_token token,
                              std::span<std::uint16_t> packed);

/// How the probabilities of one token's candidates differ from a reference.
struct Divergence {
  float nll = 0;            ///< The negative logarithm of the probability of the token that follows.
  float nll_reference = 0;  ///< The same of the reference.
  double kl = 0;            ///< Kullback-Leibler divergence from the reference.
  float p_difference = 0;   ///< The probability of the token that follows, less that of the reference.
  bool same_top = false;    ///< Whether both find the same candidate the most probable.
};

/// Compares with the reference's log-probabilities that pack_log_probabilities() wrote. `token` is the one
/// that follows.
[[nodiscard]] Divergence divergence(std::span<const float> logits, std::span<const std::uint16_t> reference,
                                    llama_token token);

}  // namespace brimful::eval
