#pragma once

#include <optional>
#include <string_view>

#include "model/model_profile.h"

namespace brimful::model {

/// What llama.cpp's naming convention tells: `blk.3.ffn_up_exps.weight` is an expert tensor of layer 3.
struct TensorName {
  Role role = Role::kOther;
  std::optional<int> layer;
  std::string_view kind;  ///< the name without its layer: `ffn_up_exps.weight`
};

/// Lifetime: the result points into `name`.
[[nodiscard]] TensorName parse_tensor_name(std::string_view name);

}  // namespace brimful::model
