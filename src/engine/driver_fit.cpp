#include "engine/driver_fit.h"

#include <fmt/format.h>

#include <algorithm>
#include <string_view>

#include "hardware/gpu_room.h"
#include "tier/weights/pinned_memory.h"

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
// A driver's page tables have 8 bytes for each page of 4 KiB that is pinned.
constexpr std::uint64_t kPinnedForByteOfTables = 512;

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

/// Bytes of our buffers that are on the device when all of `share` is in its place.
Bytes buffers_of(const plan::DeviceShare& share) { return share.peak() - share.runtime; }

/// The bytes that the driver takes in addition to `buffers`, as far as `held` is plausible; otherwise
/// nothing. `held`: what is believed().
std::optional<DeviceHeld> driver_part(ggml_backend_dev_t device, const std::optional<DeviceHeld>& held,
                                      Bytes buffers) {
  if (!held) return std::nullopt;
  const Bytes takes = held->bytes - buffers;
  if (held->own) return DeviceHeld{takes};
  if (takes > kMostOfDriver) return std::nullopt;
  return DeviceHeld{std::max(takes, driver_bytes(device)), false};
}

CardUse use_of(const hardware::Gpu& card, const std::optional<DeviceHeld>& held) {
  CardUse out{.total = card.total, .free = card.free, .used = card.used, .reserved = card.reserved};
  if (held && held->own) out.process = held->bytes;
  out.others = saturating_sub(hardware::held_by_programs(card), held ? held->bytes : Bytes{});
  return out;
}

}  // namespace

DriverFit::DriverFit(ggml_backend_dev_t device, HeldOnDevice held_on_device,
                     std::shared_ptr<DriverFigures> figures)
    : device_(device), held_on_device_(std::move(held_on_device)), figures_(std::move(figures)) {
  if (!held_on_device_) return;
  const auto held = held_on_device_(device);
  if (held && held->own && held->bytes > held->before) at_open_ = held->bytes;
}

Bytes DriverFit::page_tables() const {
  return tier::pins_memory_of_others(device_) ? Bytes{pinned_.value / kPinnedForByteOfTables} : Bytes{};
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
  return std::max(known, at_open_) + page_tables() + Bytes{budget.value / kPartForGuess};
}

Status DriverFit::check_unused(Bytes budget) const {
  const auto held = believed(held_on_device_(device_), {});
  if (!held || !held->own || held->bytes <= budget) return {};
  return fail(ErrorCode::kInfeasible,
              fmt::format("{}: its driver alone holds {} for this process, and its budget is {}: give it "
                          "more, or leave it out",
                          ggml_backend_dev_name(device_), format_bytes(held->bytes), format_bytes(budget)));
}

Status DriverFit::check_room(const plan::DeviceShare& share) const {
  const auto held = believed(held_on_device_(device_), buffers_of(share));
  if (!held) return {};
  const Bytes still = saturating_sub(share.runtime, held->bytes - buffers_of(share));
  std::size_t free = 0;
  std::size_t total = 0;
  ggml_backend_dev_memory(device_, &free, &total);
  if (total == 0 || Bytes{free} >= still) return {};
  return fail(ErrorCode::kBudgetExceeded,
              fmt::format("{}: only {} of it are free, and its driver may take {} more: other programs hold "
                          "the rest: close them, or use a smaller budget",
                          share.name, format_bytes(Bytes{free}), format_bytes(still)));
}

bool DriverFit::measure(const plan::DeviceShare& share, Bytes budget, std::vector<std::string>& notes) {
  const Bytes buffers = buffers_of(share);
  const auto raw = held_on_device_(device_);
  const auto held = believed(raw, buffers);
  if (raw && raw->card) card_ = use_of(*raw->card, held);
  const auto takes = driver_part(device_, held, buffers);
  if (!takes) {
    if (!is_remote(device_))
      notes.push_back(
          fmt::format("{}: the memory of its driver is not known; {} of the budget are reserved for it",
                      share.name, format_bytes(share.runtime)));
    return true;
  }
  if (!takes->own)
    notes.push_back(fmt::format(
        "{}: its driver does not say what this process holds (as in a container or under WSL), so "
        "the growth of the whole card's use counts: start no other program on it now",
        share.name));
  // This leaves some MiB for growth, so that the next start is right at once.
  measured_ = DeviceHeld{takes->bytes + kDriverGrowth, takes->own};
  const Bytes slack = std::max(kDriverSlack, Bytes{budget.value / kPartForSlack});
  return takes->bytes <= share.runtime && share.runtime - takes->bytes <= slack;
}

std::optional<Bytes> DriverFit::measured() const {
  return measured_ ? std::optional(measured_->bytes) : std::nullopt;
}

void DriverFit::keep() const {
  if (figures_ && measured_ && measured_->own) figures_->keep(device_, use_, measured_->bytes, page_tables());
}

}  // namespace brimful::engine
