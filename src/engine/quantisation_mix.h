#pragma once

#include <llama.h>

#include <optional>
#include <string_view>
#include <vector>

#include "model/model_profile.h"

namespace brimful::engine {

/// One of llama.cpp's quantisation mixes.
struct QuantisationMix {
  std::string_view name;  ///< for example `Q4_K_M`
  llama_ftype type;
  /// How much the mix adds to the perplexity of Llama-3-8B in F16 (6.23), as llama.cpp's quantiser prints it
  /// (tools/quantize); larger models lose less. Unset: not known.
  std::optional<double> perplexity;
};
/// The mixes that people usually choose from.
[[nodiscard]] const std::vector<QuantisationMix>& quantisation_mixes();
/// The usual mixes, and those that few people choose: every name in llama.cpp's quantiser that is a mix of
/// types.
[[nodiscard]] const std::vector<QuantisationMix>& all_quantisation_mixes();

/// The type that llama.cpp's quantiser would give to each tensor of the profile, in the profile's order. No
/// weight is read. `model` must be made from `profile`. Empty when llama.cpp refuses.
[[nodiscard]] std::vector<ggml_type> types_in_mix(const llama_model& model,
                                                  const model::ModelProfile& profile,
                                                  const QuantisationMix& mix);

}  // namespace brimful::engine
