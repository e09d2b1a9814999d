#pragma once

#include <optional>
#include <string_view>

#include "model/model_profile.h"

namespace brimful::model {

/// What a tensor's name says by llama.cpp's naming convention: `blk.3.ffn_up_exps.weight` is an expert
/// tensor of layer 3.
struct TensorName {
  Role role = Role::kOther;
  /// The number of the layer, from 0; nullopt for a tensor outside the layers.
  std::optional<int> layer;
  /// The name without its layer, such as `ffn_up_exps.weight`.
  std::string_view kind;
};

/// Takes a tensor's name to pieces. A name that the convention does not know has the role kOther. Pure.
/// Lifetime: the result points into `name`.
[[nodiscard]] TensorName parse_tensor_name(std::string_view name);

}  // namespace brimful::model
