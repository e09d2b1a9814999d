#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <optional>

#include "model/model_profile.h"
#include "plan/device_split.h"
#include "plan/graph_work.h"
#include "plan/host_plan.h"

namespace brimful::plan {

/// Where the matrices and the KV cache of each layer lie. This decides how often a pass goes from one place
/// to another and back. `profile` outlives it.
class LayerPlaces {
 public:
  LayerPlaces(const model::ModelProfile& profile, const HostPlan& plan, const DeviceSplit& split);

  /// The number of ways to the host and back in a pass of `work`. Matrices that are sent to a device cost
  /// none: `sends_dense` and `sends_experts` tell which are. Attention of passes for which dense matrices are
  /// sent is computed on a device, wherever the cells lie.
  [[nodiscard]] double detours(const GraphWork& work, bool sends_dense, bool sends_experts) const;

 private:
  struct Layer {
    // The device of its matrices. Unset: the host.
    std::optional<std::size_t> device = std::nullopt;
    // The device of its cells. Unset: the host.
    std::optional<std::size_t> cells = std::nullopt;
    bool dense_on_host = false;
    bool experts_on_host = false;
    // The share of its experts that has slots on a device.
    double cached = 0;
  };

  [[nodiscard]] Layer* layer_of(std::uint32_t tensor);

  const model::ModelProfile& profile_;
  std::map<int, Layer> layers_;
};

}  // namespace brimful::plan
