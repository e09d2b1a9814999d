#pragma once

#include <llama.h>

#include <optional>
#include <string_view>
#include <vector>

#include "model/model_profile.h"

namespace brimful::engine {

/// One of llama.cpp's quantisation mixes that people choose from.
struct QuantisationMix {
  std::string_view name;  ///< `Q4_K_M`
  llama_ftype type;
  /// What it adds to the perplexity of Llama-3-8B in F16 (6.23), as llama.cpp's quantiser prints it
  /// (tools/quantize); larger models lose less.
  std::optional<double> perplexity;
};
[[nodiscard]] const std::vector<QuantisationMix>& quantisation_mixes();
/// These, and the mixes that few people choose: every name of llama.cpp's quantiser that is a mix of types.
[[nodiscard]] const std::vector<QuantisationMix>& all_quantisation_mixes();

/// The type that llama.cpp's quantiser would give each tensor of the profile. No weight is read. `model` was
/// made from the profile. Empty where llama.cpp refuses.
[[nodiscard]] std::vector<ggml_type> types_in_mix(const llama_model& model,
                                                  const model::ModelProfile& profile,
                                                  const QuantisationMix& mix);

}  // namespace brimful::engine
