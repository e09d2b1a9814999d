#include "engine/driver_fit.h"

#include <fmt/format.h>

#include <algorithm>
#include <string_view>

namespace brimful::engine {
namespace {

// Bytes that are left for a driver to grow: it never takes less later.
constexpr Bytes kDriverGrowth = kMiB * 2;
// The weights are not placed again when a driver takes up to so much less than planned: the larger one of
// these bytes and this part of the budget.
constexpr Bytes kDriverSlack = kMiB * 8;
constexpr std::uint64_t kPartForSlack = 128;
// This part of the budget is left in addition to a guess.
constexpr std::uint64_t kPartForGuess = 256;
// When a whole card's use has grown by more than this, other programs have a part in it.
constexpr Bytes kMostOfDriver = kMiB * 1536;

/// Bytes that a driver is assumed to hold on the device beside ggml's buffers, when it does not report them.
/// Only CUDA and ROCm are assumed to hold any.
Bytes driver_bytes(ggml_backend_dev_t device) {
  const std::string_view name = ggml_backend_reg_name(ggml_backend_dev_backend_reg(device));
  return name == "CUDA" || name == "ROCm" ? plan::kUnknownRuntime : Bytes{};
}

/// Whether the device belongs to a server. The memory of its driver is the server's concern.
bool is_remote(ggml_backend_dev_t device) {
  return std::string_view(ggml_backend_reg_name(ggml_backend_dev_backend_reg(device))) == "RPC";
}

/// The bytes that the driver takes in addition to `buffers`, as far as `held` is plausible; otherwise
/// nothing.
std::optional<DeviceHeld> driver_part(ggml_backend_dev_t device, const std::optional<DeviceHeld>& held,
                                      Bytes buffers) {
  if (!held || held->bytes < buffers)
    return std::nullopt;  // we know that the buffers are there, so the figure is wrong
  const Bytes takes = held->bytes - buffers;
  if (held->own) return DeviceHeld{takes};
  if (takes > kMostOfDriver) return std::nullopt;
  return DeviceHeld{std::max(takes, driver_bytes(device)), false};
}

}  // namespace

DriverFit::DriverFit(ggml_backend_dev_t device, HeldOnDevice held_on_device,
                     std::shared_ptr<DriverFigures> figures)
    : device_(device), held_on_device_(std::move(held_on_device)), figures_(std::move(figures)) {
  if (!held_on_device_) return;
  const auto held = held_on_device_(device);
  if (held && held->own) at_open_ = held->bytes;
}

Bytes DriverFit::guess(Bytes budget) const {
  if (measured_) return measured_->bytes;
  if (is_remote(device_)) return {};
  Bytes known = driver_bytes(device_);
  if (!held_on_device_) return known;
  if (figures_) {
    const auto figure = figures_->find(device_, use_);
    if (figure && figure->same_use) return figure->took;
    if (figure) known = figure->took;
  }
  return std::max(known, at_open_) + Bytes{budget.value / kPartForGuess};
}

Status DriverFit::check_unused(Bytes budget) const {
  const auto held = held_on_device_(device_);
  if (!held || !held->own || held->bytes <= budget) return {};
  return fail(ErrorCode::kInfeasible,
              fmt::format("{}: its driver alone holds {} for this process, and its budget is {}: give it "
                          "more, or leave it out",
                          ggml_backend_dev_name(device_), format_bytes(held->bytes), format_bytes(budget)));
}

bool DriverFit::measure(const plan::DeviceShare& share, Bytes budget, std::vector<std::string>& notes) {
  const Bytes buffers = share.peak() - share.runtime;
  const auto takes = driver_part(device_, held_on_device_(device_), buffers);
  if (!takes) {
    if (!is_remote(device_))
      notes.push_back(
          fmt::format("{}: the memory of its driver is not known; {} of the budget are reserved for it",
                      share.name, format_bytes(share.runtime)));
    return true;
  }
  // This leaves some MiB for growth, so that the next start is right at once.
  measured_ = DeviceHeld{takes->bytes + kDriverGrowth, takes->own};
  const Bytes slack = std::max(kDriverSlack, Bytes{budget.value / kPartForSlack});
  return takes->bytes <= share.runtime && share.runtime - takes->bytes <= slack;
}

std::optional<Bytes> DriverFit::measured() const {
  return measured_ ? std::optional(measured_->bytes) : std::nullopt;
}

void DriverFit::keep() const {
  if (figures_ && measured_ && measured_->own) figures_->keep(device_, use_, measured_->bytes);
}

}  // namespace brimful::engine
