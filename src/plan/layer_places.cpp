#include "plan/layer_places.h"

#include <cmath>

namespace brimful::plan {

LayerPlaces::LayerPlaces(const model::ModelProfile& profile, const HostPlan& plan, const DeviceSplit& split)
    : profile_(profile) {
  for (std::size_t d = 0; d < split.devices.size(); ++d) {
    for (const std::uint32_t tensor : split.devices[d].tensors) {
      if (Layer* const layer = layer_of(tensor)) layer->device = d;
    }
    for (const CachedExperts& group : split.devices[d].groups) {
      const auto experts = static_cast<double>(profile.tensors[group.tensors.front()].shape[2]);
      if (Layer* const layer = layer_of(group.tensors.front())) layer->cached = group.slots / experts;
    }
  }
  std::uint32_t cells = 0;
  for (std::size_t d = 0; d < split.devices.size(); ++d) {
    for (std::uint32_t i = 0; i < split.devices[d].layers_of_cells; ++i)
      layers_[static_cast<int>(cells++)].cells = d;
  }
  for (const TensorUse& use : plan.demand.uses) {
    if (!use.by_rows && !use.whole) continue;
    Layer* const layer = layer_of(use.tensor);
    if (layer != nullptr) (use.expert_group ? layer->experts_on_host : layer->dense_on_host) = true;
  }
}

double LayerPlaces::detours(const GraphWork& work, bool sends_dense, bool sends_experts) const {
  double out = 0;
  std::optional<std::optional<std::size_t>> before;
  for (const auto& [index, layer] : layers_) {
    // Layers of one place follow those of another. That costs the way there, without a way back: half of a
    // detour.
    if (before && *before != layer.device) out += 0.5;
    before = layer.device;
    const bool attends_elsewhere = layer.cells != layer.device && !sends_dense;
    if (attends_elsewhere) out += 1;
    if (!layer.device) continue;
    if (layer.dense_on_host && !sends_dense) {
      if (!attends_elsewhere) out += 1;
    } else if (layer.experts_on_host && !sends_experts) {
      const double chosen = static_cast<double>(work.experts_used * work.tokens);
      const bool finds_slots = work.tokens <= kMostTokensOfSlots;
      out += finds_slots ? 1 - std::pow(layer.cached, chosen) : 1;
    }
  }
  return out;
}

/// The layer of a matrix. Null for what belongs to no layer, and for norms: these are computed where their
/// neighbours lie.
LayerPlaces::Layer* LayerPlaces::layer_of(std::uint32_t tensor) {
  const model::TensorInfo& info = profile_.tensors[tensor];
  return info.layer && info.rows() > 1 ? &layers_[*info.layer] : nullptr;
}

}  // namespace brimful::plan
