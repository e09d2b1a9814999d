#pragma once

#include <ggml-backend.h>

#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "base/result.h"
#include "hardware/gpu.h"

namespace brimful::engine {

/// The memory that this process holds on a device.
struct DeviceHeld {
  Bytes bytes;
  /// True: NVML lists a process with this process's pid. False: `bytes` is how much the use of the whole card
  /// has grown, and other programs may have a part in it.
  bool own = true;
  /// With `own`: the bytes that NVML listed for this pid before the first device was started. In a container,
  /// these can be those of another process, whose pid there is the same.
  Bytes before{};
  /// With `own`: how much the use of the whole card has grown. Unset: not known.
  std::optional<Bytes> growth{};
  /// The card as NVML describes it at the same moment. Unset: not known.
  std::optional<hardware::Gpu> card{};
};

/// Returns the bytes that `held` says, when this process is known to hold at least `buffers`. The entry of a
/// process's pid is believed only if it has risen by about as much; otherwise the growth of the card counts,
/// and nothing when that is not enough either. Pure.
[[nodiscard]] std::optional<DeviceHeld> believed(const std::optional<DeviceHeld>& held, Bytes buffers);

/// Reports how many bytes this process holds on a device, as its driver counts them, with the driver's
/// context and kernels; nothing when that is not known. An empty function: drivers are not asked at all.
using HeldOnDevice = std::function<std::optional<DeviceHeld>(ggml_backend_dev_t)>;

/// Measures by NVML how much memory this process holds on GPUs. It uses the entry of this process in the
/// card's list, and the growth of the card's memory in use since the start (see believed()).
class DriverAccount {
 public:
  /// Reads the cards' memory in use at once. So construct it before the first device is started.
  /// `visible_devices`: the value of the variable CUDA_VISIBLE_DEVICES, which chooses the instance of a
  /// divided card (MIG).
  explicit DriverAccount(hardware::GpuQuery query = {}, std::string visible_devices = visible());

  /// The card with this PCI address as it was before the first device was started; nothing where NVML does
  /// not know the address. Errors: kUnsupported for a divided card, when it is not known which of its
  /// instances CUDA takes.
  [[nodiscard]] Result<std::optional<hardware::Gpu>> card(const std::string& pci_address) const;

  /// The memory held on the card with this PCI address. Nothing for a card that NVML does not know.
  [[nodiscard]] std::optional<DeviceHeld> held(const std::string& pci_address) const;
  [[nodiscard]] std::optional<DeviceHeld> held_on(ggml_backend_dev_t device) const;

 private:
  /// CUDA_VISIBLE_DEVICES; empty when it is not set.
  [[nodiscard]] static std::string visible();
  /// The cards of `all` that can be the one with this address: several only for a divided card.
  [[nodiscard]] std::vector<const hardware::Gpu*> candidates(const std::vector<hardware::Gpu>& all,
                                                             const std::string& pci_address) const;

  const hardware::GpuQuery query_;
  const std::string visible_devices_;
  std::vector<hardware::Gpu> before_;
};

}  // namespace brimful::engine
