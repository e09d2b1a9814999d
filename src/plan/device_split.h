#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "hardware/profile.h"
#include "plan/device_rows.h"
#include "plan/expert_groups.h"
#include "plan/host_plan.h"
#include "plan/kv_placement.h"

namespace brimful::plan {

/// Memory that driver and kernels take of a GPU where nobody has measured it: context, modules, cuBLAS.
/// (Measured for CUDA 13 on an H200: 608 to 658 MiB.)
inline constexpr Bytes kUnknownRuntime{672ULL << 20};

/// The rate of a link, in bytes per second, where nobody has measured it.
inline constexpr double kUnknownLink = 12e9;

/// One GPU that may be used, and how much of its memory.
struct DeviceBudget {
  /// ggml's name of the device: `CUDA0`.
  std::string name;
  hardware::Gpu gpu;
  /// Upper bound on everything the process holds there: driver, kernels, weights, buffers.
  Bytes budget;
  /// The device's compute buffers. Unset where they are not known: then those of the whole graph on the host
  /// are assumed.
  std::optional<Bytes> compute = std::nullopt;
  /// Memory for matrices that are sent to the device. It is used where there are such matrices and there is
  /// room.
  Bytes ring = {};
  /// The same for experts that are sent. It is used where it is at most a quarter of the room.
  Bytes expert_ring = {};
  /// Rows that the device multiplies where the host has the matrix, and where there is a ring.
  std::vector<DeviceRows> rows = {};
  /// What happens where not all experts fit. True: some experts get slots on the device, and the host keeps
  /// all of them, too. False: as many whole matrices of experts as fit lie on the device.
  bool caches_experts = true;
  /// What decides where the KV cache lies. Unset: it lies where the weights of its layer lie.
  std::optional<StepCosts> step_costs = std::nullopt;
};

/// What lies on one GPU. The parts and `unused` add up to `budget`, exactly.
struct DeviceShare {
  std::string name;
  hardware::Gpu gpu;
  Bytes budget;
  Bytes weights;
  /// Slots for experts.
  Bytes experts;
  Bytes kv_cache;
  Bytes compute;
  /// The ring, with the buffers for `rows`.
  Bytes ring;
  /// Whether the ring is large enough for experts.
  bool ring_for_experts = false;
  /// Driver and kernels.
  Bytes runtime;
  Bytes unused;
  /// Layers whose attention lies there, with all other weights that every token uses; those of the last one
  /// may be missing.
  std::uint32_t layers = 0;
  /// Layers whose KV cache lies there. They follow those of the device before.
  std::uint32_t layers_of_cells = 0;
  /// Weights that lie there as a whole: indices into ModelProfile::tensors.
  std::vector<std::uint32_t> tensors;
  /// Expert groups that have slots there.
  std::vector<CachedExperts> groups;
  /// Layers whose weights are sent there for batches, as far as the host has them. Layers are dealt out to
  /// the devices that have rings, in turns by the rates of their links, so that all links send at once.
  std::vector<int> sent_layers;
  /// Rows of the host's matrices in these layers that are multiplied there in passes of few tokens.
  std::vector<DeviceRows> rows;

  /// The most that will be held.
  [[nodiscard]] Bytes peak() const { return budget - unused; }
};

/// What lies on the GPUs, and what is left to the host.
struct DeviceSplit {
  std::vector<DeviceShare> devices;
  /// The demand that is left to the host: its uses and its KV cache are the host's share. Its
  /// least_for_weights is not known.
  HostDemand host;
  /// Bytes of weights on all devices, including the slots for experts.
  Bytes weights;

  /// The share of the model's layers whose KV cache lies on devices, 0..1, and of those whose weights lie
  /// there.
  [[nodiscard]] double share_of_cells(const model::ModelProfile& profile) const;
  [[nodiscard]] double share_of_layers(const model::ModelProfile& profile) const;
};

/// Whether a weight may lie on a device. An empty filter allows every weight on every device.
using PlacementFilter = std::function<bool(std::string_view device, const model::ModelProfile& profile,
                                           const model::TensorInfo& tensor)>;

/// Fills the devices one after the other with weights that every token uses: first whole layers and their
/// share of the KV cache, then the attention of the next layer, then the feed-forward part of the last layer
/// where the output lies there, then large single tensors. With DeviceBudget::step_costs, the cells of as
/// many layers come first as make a step the fastest, whether their weights lie there or not:
/// layers_with_cells(). Experts come last, as DeviceBudget::caches_experts says; groups that get slots are
/// distributed by the room that the devices have left. Weights that are only gathered stay on the host. A
/// device whose driver and compute buffers alone pass its budget gets nothing. The first layer that does not
/// fit, or that has nothing left that may lie on the device, ends its whole layers. `share` (0..1) is the
/// part of each device's room that weights and KV cache may take. Pure.
[[nodiscard]] DeviceSplit split_devices(const model::ModelProfile& profile, const HostDemand& demand,
                                        const std::vector<DeviceBudget>& budgets, double share = 1,
                                        const PlacementFilter& placement_filter = {});

}  // namespace brimful::plan
