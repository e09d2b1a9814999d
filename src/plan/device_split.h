#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "hardware/profile.h"
#include "plan/expert_groups.h"
#include "plan/host_plan.h"

namespace brimful::plan {

/// What driver and kernels take of a GPU where no one has measured it: context, modules, cuBLAS. (Measured
/// for CUDA 13 on an H200: 608 to 658 MiB.)
inline constexpr Bytes kUnknownRuntime{672ULL << 20};

/// One GPU that may be used, and how much of it.
struct DeviceBudget {
  std::string name;  ///< `CUDA0`
  hardware::Gpu gpu;
  Bytes budget;  ///< of everything: driver, kernels, buffers
  /// Its compute buffers, where they are known; else those of the whole graph on the host.
  std::optional<Bytes> compute = std::nullopt;
  Bytes ring = {};         ///< for matrices that are sent to it, where there are such and there is room
  Bytes expert_ring = {};  ///< the same of experts, where that is a small part of the room
  /// Experts that do not all fit get slots, and the host keeps them, too; else as many matrices of them lie
  /// there as fit.
  bool caches_experts = true;
};

/// What lies on one GPU. The parts and `unused` add up to `budget`, exactly.
struct DeviceShare {
  std::string name;
  hardware::Gpu gpu;
  Bytes budget;
  Bytes weights;
  Bytes experts;  ///< in slots
  Bytes kv_cache;
  Bytes compute;
  Bytes ring;
  bool ring_for_experts = false;  ///< it is large enough for theirs
  Bytes runtime;                  ///< driver and kernels
  Bytes unused;
  std::uint32_t layers = 0;            ///< with all that every token uses of them, and their KV cache
  std::vector<std::uint32_t> tensors;  ///< indices into ModelProfile::tensors
  std::vector<CachedExperts> groups;   ///< that have slots

  [[nodiscard]] Bytes peak() const { return budget - unused; }
};

struct DeviceSplit {
  std::vector<DeviceShare> devices;
  HostDemand host;  ///< what is left to the host: uses, KV cache; its least_for_weights is not known
  Bytes weights;    ///< on all devices, experts in slots among them
  double share_of_attention = 0;  ///< layers on devices, 0..1
};

/// Whether a weight may lie on a device; unset: each on each.
using PlacementFilter = std::function<bool(std::string_view device, const model::ModelProfile& profile,
                                           const model::TensorInfo& tensor)>;

/// Fills the devices one after the other: first whole layers, with their share of the KV cache, then single
/// tensors that every token uses. Experts come last: see DeviceBudget::caches_experts; groups that get slots
/// are dealt out by the room that devices have left. Weights that are only gathered stay on the host. A
/// device whose driver and compute buffers alone pass its budget gets nothing. Whole layers end where one has
/// nothing that may lie on the device. Pure.
[[nodiscard]] DeviceSplit split_devices(const model::ModelProfile& profile, const HostDemand& demand,
                                        const std::vector<DeviceBudget>& budgets, double share = 1,
                                        const PlacementFilter& placement_filter = {});

}  // namespace brimful::plan
