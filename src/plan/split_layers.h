#pragma once

#include <cstdint>
#include <map>
#include <vector>

#include "model/model_profile.h"
#include "plan/tensor_use.h"

namespace brimful::plan {

/// What of one layer can lie on a device. Tensors are indices into ModelProfile::tensors.
struct SplitLayer {
  /// The weights that every token uses.
  std::vector<std::uint32_t> tensors;
  /// Whether the layer has a share of the KV cache.
  bool attends = false;
  bool has_experts = false;
  /// The weights among them that attention itself uses: they are needed where the KV cache lies.
  std::vector<std::uint32_t> of_attention;
};

/// The layers by number, with the weights that a pass computes with. The output comes last, and counts as a
/// layer of its own. Pure.
[[nodiscard]] std::map<int, SplitLayer> layers_of(const model::ModelProfile& profile,
                                                  const std::vector<TensorUse>& uses);

/// Whether the tensor belongs to the second half of its layer: the feed-forward part, with its norms. Pure.
[[nodiscard]] bool is_feed_forward(const model::TensorInfo& tensor);

}  // namespace brimful::plan
