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

/// A card as NVML counts it: everything on it, whoever holds it.
struct CardUse {
  Bytes total{};
  Bytes free{};
  /// All that is not free, with what is reserved.
  Bytes used{};
  /// The bytes that driver and firmware keep. Unset: the driver does not say it, and `others` includes them.
  std::optional<Bytes> reserved{};
  /// The bytes of this process. Unset: the driver does not say it.
  std::optional<Bytes> process{};
  /// The bytes of other programs. Where `process` is unset, the growth of the card's use counts as ours.
  Bytes others{};
};

/// The bytes that the driver of one GPU takes beside ggml's buffers. They are guessed for the first plan, and
/// measured once everything is in its place. Threading: one thread at a time.
class DriverFit {
 public:
  /// Asks the driver how much it holds, so make this before there is any buffer on the device. `figures`:
  /// what drivers took in earlier starts; may be null.
  DriverFit(ggml_backend_dev_t device, HeldOnDevice held_on_device, std::shared_ptr<DriverFigures> figures);

  /// Names what the device is used for: the key of DriverFigures.
  void set_use(std::string use) { use_ = std::move(use); }
  /// Sets the most bytes of host memory that will be pinned for the device. Its driver needs page tables for
  /// them.
  void set_pinned(Bytes pinned) { pinned_ = pinned; }
  /// Bytes to leave for the driver before the weights are placed: the measured ones, if there are any.
  /// `budget`: the budget of the device.
  [[nodiscard]] Bytes guess(Bytes budget) const;

  /// Whether the driver tells how much this process holds. Requires: drivers are asked.
  [[nodiscard]] bool tells() const { return held_on_device_(device_).has_value(); }
  /// Checks a device that holds nothing of ours. Requires: drivers are asked. Errors: kInfeasible when its
  /// driver alone holds more than `budget`.
  [[nodiscard]] Status check_unused(Bytes budget) const;
  /// Checks that the device has free what the driver may still take of the bytes that `share` leaves for it.
  /// Otherwise CUDA ends the process when it does not get them. Requires: drivers are asked, and all that
  /// `share` has is in its place. Errors: kBudgetExceeded.
  [[nodiscard]] Status check_room(const plan::DeviceShare& share) const;
  /// Measures what the driver takes, and returns whether that is what `share` has left for it. `budget`: the
  /// budget of the device. A driver that does not tell counts as right, with a note in `notes`. Requires:
  /// drivers are asked, and all that `share` has is in its place.
  [[nodiscard]] bool measure(const plan::DeviceShare& share, Bytes budget, std::vector<std::string>& notes);
  /// The measured bytes, with a little for growth; nothing before the first measurement.
  [[nodiscard]] std::optional<Bytes> measured() const;
  /// The card at the last measurement; nothing before it, and where NVML does not know the card.
  [[nodiscard]] const std::optional<CardUse>& card() const { return card_; }
  /// Keeps the measured bytes for later starts.
  void keep() const;

 private:
  [[nodiscard]] Bytes page_tables() const;

  ggml_backend_dev_t const device_;
  const HeldOnDevice held_on_device_;
  const std::shared_ptr<DriverFigures> figures_;
  Bytes at_open_;                       // bytes that the driver held before there was any buffer
  std::optional<DeviceHeld> measured_;  // bytes that it takes beside ggml's buffers
  std::optional<CardUse> card_;
  std::string use_;
  Bytes pinned_;
};

}  // namespace brimful::engine
