#include "engine/driver_account.h"

#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <sstream>

#include "hardware/visible_gpus.h"
#include "tier/gpu/gpu_device.h"

namespace brimful::engine {
namespace {

// Up to this part of our buffers, a driver may have given back memory that an earlier use by this process had
// left.
constexpr std::uint64_t kPartReleased = 8;

/// Whether CUDA_VISIBLE_DEVICES names this instance. CUDA takes the beginning of a UUID for the whole.
bool names(const std::string& visible_devices, const hardware::Gpu& gpu) {
  std::istringstream all(visible_devices);
  for (std::string one; std::getline(all, one, ',');) {
    if (one.starts_with("MIG-") && gpu.instance && gpu.instance->starts_with(one)) return true;
  }
  return false;
}

/// Bytes that the card's list has for this process; 0 when it has no entry.
std::optional<Bytes> own_entry(const hardware::Gpu& gpu) {
  const auto own =
      std::ranges::find(gpu.processes, static_cast<std::uint64_t>(::getpid()), &hardware::GpuProcess::pid);
  return own != gpu.processes.end() ? std::optional(own->used) : std::nullopt;
}

}  // namespace

std::optional<DeviceHeld> believed(const std::optional<DeviceHeld>& held, Bytes buffers) {
  if (!held) return std::nullopt;
  DeviceHeld out = *held;
  const Bytes rise = saturating_sub(out.bytes, out.before);
  if (out.own && (rise == Bytes{} || rise < buffers - Bytes{buffers.value / kPartReleased})) {
    if (!out.growth) return std::nullopt;
    out = {.bytes = *out.growth, .own = false, .card = std::move(out.card)};
  }
  if (out.bytes < buffers) return std::nullopt;
  return out;
}

std::string DriverAccount::visible() { return hardware::visible_devices().value_or(""); }

DriverAccount::DriverAccount(hardware::GpuQuery query, std::string visible_devices)
    : query_(std::move(query)),
      visible_devices_(std::move(visible_devices)),
      before_(hardware::read_gpus(query_).cards) {}

std::vector<const hardware::Gpu*> DriverAccount::candidates(const std::vector<hardware::Gpu>& all,
                                                            const std::string& pci_address) const {
  std::vector<const hardware::Gpu*> out;
  for (const hardware::Gpu& gpu : all) {
    if (gpu.pci_address == pci_address) out.push_back(&gpu);
  }
  if (out.size() > 1 &&
      std::ranges::any_of(out, [&](const auto* gpu) { return names(visible_devices_, *gpu); }))
    std::erase_if(out, [&](const hardware::Gpu* gpu) { return !names(visible_devices_, *gpu); });
  return out;
}

Result<std::optional<hardware::Gpu>> DriverAccount::card(const std::string& pci_address) const {
  const std::vector<const hardware::Gpu*> found = candidates(before_, pci_address);
  if (found.empty()) return std::nullopt;
  if (found.size() == 1) return *found.front();
  return fail(ErrorCode::kUnsupported,
              fmt::format("the card at {} is divided (MIG) into {} instances, and it is not known which one "
                          "is used: set CUDA_VISIBLE_DEVICES to the UUID of one (nvidia-smi -L lists them)",
                          pci_address, found.size()));
}

std::optional<DeviceHeld> DriverAccount::held(const std::string& pci_address) const {
  const auto before = candidates(before_, pci_address);
  if (before.size() != 1) return std::nullopt;
  const std::vector<hardware::Gpu> cards = hardware::read_gpus(query_).cards;
  const auto now = candidates(cards, pci_address);
  if (now.size() != 1) return std::nullopt;
  const Bytes growth = saturating_sub(now.front()->used, before.front()->used);
  const auto own = own_entry(*now.front());
  if (!own) return DeviceHeld{.bytes = growth, .own = false, .card = *now.front()};
  return DeviceHeld{.bytes = *own,
                    .before = own_entry(*before.front()).value_or(Bytes{}),
                    .growth = growth,
                    .card = *now.front()};
}

std::optional<DeviceHeld> DriverAccount::held_on(ggml_backend_dev_t device) const {
  return held(tier::card_of(device));
}

}  // namespace brimful::engine
