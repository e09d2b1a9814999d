#pragma once

#include <llama.h>

#include <memory>
#include <optional>
#include <string>

#include "base/result.h"
#include "engine/driver_fit.h"
#include "engine/options.h"
#include "memory/pool.h"
#include "plan/device_split.h"
#include "tier/gpu/gpu_device.h"

namespace brimful::engine {

/// The use of a device by a loaded model.
struct DeviceUse {
  plan::DeviceShare share;
  /// Bytes of weights that were sent to the device for large batches.
  Bytes sent;
  /// Statistics of the steps that had slots for experts on the device. `read`: bytes sent into these slots.
  tier::ExpertStatistics experts;
  /// The card when its driver was measured last. Unset: NVML does not know it, or is not asked.
  std::optional<CardUse> card{};
};

/// A device with memory of its own, its budget, and what is known about it. One of GpuTier's. Threading: as
/// the engine.
struct BudgetedGpu {
  /// `host` outlives this. `options`: how the device's driver is asked.
  BudgetedGpu(tier::HostDevice& host, const OffloadOption& option, const OpenOptions& options);

  /// Counts all bytes on the device; its capacity is the budget. It outlives the device.
  std::unique_ptr<memory::Pool> pool;
  std::unique_ptr<tier::GpuDevice> device;
  DriverFit driver;
  /// What lies there, by the newest split.
  plan::DeviceShare share;

  /// ggml's name of the device.
  [[nodiscard]] std::string name() const { return ggml_backend_dev_name(device->inner()); }
  /// Whether it has any weights, experts, cells of the KV cache or a ring.
  [[nodiscard]] bool is_used() const {
    return !share.tensors.empty() || !share.groups.empty() || share.layers_of_cells > 0 ||
           share.ring > Bytes{};
  }
  /// Reads the real sizes of `share` from the context that was made with it. Returns false when the device
  /// would pass its budget; `estimate` is better then. Errors: kBudgetExceeded.
  [[nodiscard]] Result<bool> settle(const llama_context* context, plan::DeviceBudget& estimate);
  /// Refuses another budget when it is known to be too large or too small. Errors: kInfeasible.
  [[nodiscard]] Status check_budget(Bytes budget) const;
  [[nodiscard]] DeviceUse use() const { return {share, device->sent(), device->experts(), driver.card()}; }
};

}  // namespace brimful::engine
