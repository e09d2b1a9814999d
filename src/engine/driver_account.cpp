#include "engine/driver_account.h"

#include <unistd.h>

#include <algorithm>

#include "tier/gpu/gpu_device.h"

namespace brimful::engine {

DriverAccount::DriverAccount(hardware::GpuQuery query) : query_(std::move(query)) {
  for (const hardware::Gpu& gpu : hardware::read_gpus(query_).cards) {
    if (gpu.pci_address) used_before_[*gpu.pci_address] = gpu.used;
  }
}

std::optional<DeviceHeld> DriverAccount::held(const std::string& pci_address) const {
  const auto before = used_before_.find(pci_address);
  if (before == used_before_.end()) return std::nullopt;
  const hardware::Gpus gpus = hardware::read_gpus(query_);
  const auto gpu = std::ranges::find(gpus.cards, pci_address, &hardware::Gpu::pci_address);
  if (gpu == gpus.cards.end()) return std::nullopt;
  const auto own =
      std::ranges::find(gpu->processes, static_cast<std::uint64_t>(::getpid()), &hardware::GpuProcess::pid);
  if (own != gpu->processes.end()) return DeviceHeld{own->used};
  return DeviceHeld{saturating_sub(gpu->used, before->second), false};
}

std::optional<DeviceHeld> DriverAccount::held_on(ggml_backend_dev_t device) const {
  return held(tier::card_of(device));
}

}  // namespace brimful::engine
