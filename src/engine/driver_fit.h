#pragma once

#include <ggml-backend.h>

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/result.h"
#include "engine/driver_account.h"
#include "engine/driver_figures.h"
#include "plan/device_split.h"

namespace brimful::engine {

/// The bytes that the driver of one GPU takes beside ggml's buffers. They are guessed for the first plan, and
/// measured once everything is in its place. Threading: one thread at a time.
class DriverFit {
 public:
  /// Asks the driver how much it holds, so make this before there is any buffer on the device. `figures`:
  /// what drivers took in earlier starts; may be null.
  DriverFit(ggml_backend_dev_t device, HeldOnDevice held_on_device, std::shared_ptr<DriverFigures> figures);

  /// Names what the device is used for: the key of DriverFigures.
  void set_use(std::string use) { use_ = std::move(use); }
  /// Bytes to leave for the driver before the weights are placed: the measured ones, if there are any.
  /// `budget`: the budget of the device.
  [[nodiscard]] Bytes guess(Bytes budget) const;

  /// Whether the driver tells how much this process holds. Requires: drivers are asked.
  [[nodiscard]] bool tells() const { return held_on_device_(device_).has_value(); }
  /// Checks a device that holds nothing of ours. Requires: drivers are asked. Errors: kInfeasible when its
  /// driver alone holds more than `budget`.
  [[nodiscard]] Status check_unused(Bytes budget) const;
  /// Measures what the driver takes, and returns whether that is what `share` has left for it. `budget`: the
  /// budget of the device. A driver that does not tell counts as right, with a note in `notes`. Requires:
  /// drivers are asked, and all that `share` has is in its place.
  [[nodiscard]] bool measure(const plan::DeviceShare& share, Bytes budget, std::vector<std::string>& notes);
  /// The measured bytes, with a little for growth; nothing before the first measurement.
  [[nodiscard]] std::optional<Bytes> measured() const;
  /// Keeps the measured bytes for later starts.
  void keep() const;

 private:
  ggml_backend_dev_t const device_;
  const HeldOnDevice held_on_device_;
  const std::shared_ptr<DriverFigures> figures_;
  Bytes at_open_;                       // bytes that the driver held before there was any buffer
  std::optional<DeviceHeld> measured_;  // bytes that it takes beside ggml's buffers
  std::string use_;
};

}  // namespace brimful::engine
