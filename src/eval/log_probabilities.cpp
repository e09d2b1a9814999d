#include "eval/log_probabilities.h"

#include <algorithm>
#include <cmath>
#include <cstring>

namespace brimful::eval {
namespace {

// Candidates whose logit is so far below the largest one are packed as if they were exactly that far.
constexpr float kRange = 16;
constexpr float kLevels = 65535;

/// The sum of e^(logit - largest), in the order of the vocabulary.
double sum_of_exponentials(std::span<const float> logits, float largest) {
  double sum = 0;
  for (const float logit : logits) sum += std::exp(logit - largest);
  return sum;
}

/// The first two 32-bit floats of packed log-probabilities.
struct Packing {
  float scale;
  float least;
};

constexpr std::size_t kPackingWords = sizeof(Packing) / sizeof(std::uint16_t);

}  // namespace

double negative_log_likelihood(std::span<const float> logits, llama_token token) {
  const float largest = *std::ranges::max_element(logits);
  const double sum = sum_of_exponentials(logits, largest);
  return -(logits[static_cast<std::size_t>(token)] - largest - std::log(sum));
}

double pack_log_probabilities(std::span<const float> logits, llama_token token,
                              std::span<std::uint16_t> packed) {
  const auto [smallest, highest] = std::ranges::minmax(logits);
  const float largest = highest;
  const float least = std::max(smallest, largest - kRange);
  const auto log_sum = static_cast<float>(std::log(sum_of_exponentials(logits, largest)));
  const Packing packing{(largest - least) / kLevels, least - largest - log_sum};
  std::memcpy(packed.data(), &packing, sizeof packing);
  std::ranges::fill(packed.subspan(kPackingWords), std::uint16_t{0});
  if (packing.scale != 0) {
    const float levels = 1 / packing.scale;
    for (std::size_t i = 0; i < logits.size(); ++i) {
      if (logits[i] > least)
        packed[kPackingWords + i] = static_cast<std::uint16_t>(std::lrint(levels * (logits[i] - least)));
    }
  }
  return largest + log_sum - logits[static_cast<std::size_t>(token)];
}

Divergence divergence(std::span<const float> logits, std::span<const std::uint16_t> reference,
                      llama_token token) {
  const auto top = std::ranges::max_element(logits);
  const auto log_sum = static_cast<float>(std::log(sum_of_exponentials(logits, *top)));
  Packing packing{};
  std::memcpy(&packing, reference.data(), sizeof packing);
  const auto words = reference.subspan(kPackingWords, logits.size());
  const auto next = static_cast<std::size_t>(token);

  Divergence out;
  out.nll = *top + log_sum - logits[next];
  out.nll_reference = -(packing.scale * words[next] + packing.least);
  const float normaliser = *top + log_sum;
  std::size_t reference_top = 0;
  float reference_largest = 0;
  for (std::size_t i = 0; i < logits.size(); ++i) {
    const float log_p = packing.scale * words[i] + packing.least;
    if (i == 0 || log_p > reference_largest) {
      reference_largest = log_p;
      reference_top = i;
    }
    if (log_p > -kRange) out.kl += std::exp(log_p) * (log_p - logits[i] + normaliser);
  }
  out.same_top = static_cast<std::size_t>(top - logits.begin()) == reference_top;
  out.p_difference = std::exp(-out.nll) - std::exp(-out.nll_reference);
  return out;
}

}  // namespace brimful::eval
