#pragma once

#include <string_view>

#include "model/model_profile.h"

namespace brimful::quantise {

/// What a tensor does, as far as its sensitivity goes: its name without the layer, such as `attn_q.weight`.
[[nodiscard]] std::string_view kind_of(const model::TensorInfo& tensor);

/// The usual sensitivity (see TensorLosses) of a tensor of this kind in a model with so many layers: for
/// tensors that are not measured. The values are those of a small trained model (stories15M, 6 layers); a
/// layer of a deeper model counts less, in proportion.
[[nodiscard]] double usual_sensitivity(const model::TensorInfo& tensor, std::uint32_t layers);

}  // namespace brimful::quantise
