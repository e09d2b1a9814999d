#pragma once

#include <optional>
#include <string>
#include <vector>

#include "hardware/profile.h"

namespace brimful::hardware {

/// The cards of `all` that CUDA shows to a process with this value of CUDA_VISIBLE_DEVICES, in the order in
/// which the value names them. Unset: all. The value has numbers, or beginnings of the UUIDs of instances
/// (`MIG-`); as with CUDA, the first part that names no card, or one for the second time, ends the list.
/// Numbers are those of `all`, in the order of the PCI bus; without CUDA_DEVICE_ORDER=PCI_BUS_ID, CUDA
/// counts the fastest card first. UUIDs of whole cards (`GPU-`) are not known: a value with one of them
/// shows all cards. Pure.
[[nodiscard]] std::vector<Gpu> visible_gpus(const std::vector<Gpu>& all,
                                            const std::optional<std::string>& visible);

/// The value of CUDA_VISIBLE_DEVICES in this process.
[[nodiscard]] std::optional<std::string> visible_devices();

}  // namespace brimful::hardware
