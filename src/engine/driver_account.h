#pragma once

#include <ggml-backend.h>

#include <functional>
#include <map>
#include <optional>
#include <string>

#include "hardware/gpu.h"

namespace brimful::engine {

/// The memory that this process holds on a device.
struct DeviceHeld {
  Bytes bytes;
  /// True: NVML lists this process. False: `bytes` is how much the use of the whole card has grown, and other
  /// programs may have a part in it.
  bool own = true;
};

/// Reports how many bytes this process holds on a device, as its driver counts them, with the driver's
/// context and kernels; nothing when that is not known. An empty function: drivers are not asked at all.
using HeldOnDevice = std::function<std::optional<DeviceHeld>(ggml_backend_dev_t)>;

/// Measures by NVML how much memory this process holds on GPUs. It uses the entry of this process in the
/// card's list. When there is no entry, as in a container, it uses the growth of the card's memory in use
/// since the start.
class DriverAccount {
 public:
  /// Reads the cards' memory in use at once. So construct it before the first device is started.
  explicit DriverAccount(hardware::GpuQuery query = {});

  /// The memory held on the card with this PCI address. Nothing for a card that NVML does not know.
  [[nodiscard]] std::optional<DeviceHeld> held(const std::string& pci_address) const;
  [[nodiscard]] std::optional<DeviceHeld> held_on(ggml_backend_dev_t device) const;

 private:
  const hardware::GpuQuery query_;
  std::map<std::string, Bytes> used_before_;  // by PCI address
};

}  // namespace brimful::engine
