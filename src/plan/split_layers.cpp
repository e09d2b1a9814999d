#include "plan/split_layers.h"

namespace brimful::plan {
namespace {

bool is_of_attention(const model::TensorInfo& tensor) { return tensor.name.ends_with(".attn_sinks.weight"); }

}  // namespace

std::map<int, SplitLayer> layers_of(const model::ModelProfile& profile, const std::vector<TensorUse>& uses) {
  std::map<int, SplitLayer> layers;
  for (const TensorUse& use : uses) {
    if (!use.by_rows && !use.whole) continue;
    const model::TensorInfo& tensor = profile.tensors[use.tensor];
    SplitLayer& layer = layers[tensor.layer.value_or(static_cast<int>(profile.layers))];
    if (!use.expert_group) layer.tensors.push_back(use.tensor);
    if (is_of_attention(tensor)) layer.of_attention.push_back(use.tensor);
    layer.has_experts |= use.expert_group.has_value();
    layer.attends |= tensor.layer.has_value();
  }
  return layers;
}

bool is_feed_forward(const model::TensorInfo& tensor) {
  return tensor.role == model::Role::kFeedForward || tensor.name.contains(".ffn_") ||
         tensor.name.contains("_ffw_");
}

}  // namespace brimful::plan
