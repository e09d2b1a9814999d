#pragma once

#include <ggml-backend.h>

#include <map>
#include <optional>
#include <string>

#include "hardware/gpu.h"

namespace brimful::engine {

/// What this process holds of a device.
struct DeviceHeld {
  Bytes bytes;
  bool own = true;  ///< else a difference of the whole card, in which other programs may have a part
};

/// What this process holds on GPUs, by NVML: of its own entry in the card's list, or where it has none (in a
/// container) what the card holds more than at the start.
class DriverAccount {
 public:
  /// Asks at once: to be made before the first device is started.
  explicit DriverAccount(hardware::GpuQuery query = {});

  /// Nothing for a device that NVML does not know.
  [[nodiscard]] std::optional<DeviceHeld> held(const std::string& pci_address) const;
  [[nodiscard]] std::optional<DeviceHeld> held_on(ggml_backend_dev_t device) const;

 private:
  const hardware::GpuQuery query_;
  std::map<std::string, Bytes> used_before_;  // by address
};

}  // namespace brimful::engine
