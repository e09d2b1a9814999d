#pragma once

#include <cstdint>
#include <vector>

#include "base/result.h"

namespace brimful::synth {

/// The text that a model of random weights can be made to write: each token is followed by a fixed one, and
/// what its layers compute changes nothing. So the tokens are known, whatever computes the layers, and drafts
/// are right as often as is wanted.
struct SynthText {
  /// The number of tokens after which a text repeats itself; at least 2. More than the vocabulary has means
  /// all of it.
  std::uint32_t period = 0;
  /// The share of the tokens, 0 to 1, that are followed by another one than in a model of the same vocabulary
  /// without errors. A draft model with errors is wrong after these.
  float errors = 0;
  /// The same for the layers of the model that predict further tokens, which have an output matrix of their
  /// own then: how often they are wrong about the model's text.
  float head_errors = 0;
};

/// Returns the token that follows each token. `control` says which tokens are control tokens; none of them is
/// ever written. `seed` decides after which tokens there are errors.
/// Errors: kInvalidArgument when the period or the share is out of range, or there are fewer than 2 tokens to
/// write.
[[nodiscard]] Result<std::vector<std::uint32_t>> following_tokens(const SynthText& text,
                                                                  const std::vector<bool>& control,
                                                                  std::uint64_t seed);

}  // namespace brimful::synth
