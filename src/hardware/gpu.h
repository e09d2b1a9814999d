#pragma once

#include <chrono>
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "hardware/profile.h"

namespace brimful::hardware {

struct Gpus {
  std::vector<Gpu> cards;              ///< that a driver answers for; their rates are absent
  std::optional<std::string> problem;  ///< one line: what is wrong with a card or driver, and what to do
};

struct GpuQuery {
  std::string library = "libnvidia-ml.so.1";
  std::chrono::milliseconds limit{5000};
  std::filesystem::path root = "/";  ///< stands before /sys
};

/// Asks NVIDIA's management library in a process of its own: a driver that crashes or hangs ends that one.
/// Without a library or a card there is neither a card nor a problem.
/// Blocks: at most `limit` and half a second. Call it while this process has no other threads (run_in_child).
[[nodiscard]] Gpus read_gpus(const GpuQuery& query = {});

/// An NVIDIA display or compute card on the PCI bus.
struct PciCard {
  std::string address;  ///< `0000:01:00.0`
  std::string driver;   ///< the kernel's: `nvidia`, `nouveau`, `vfio-pci`; empty without one
};
[[nodiscard]] std::vector<PciCard> read_nvidia_cards(const std::filesystem::path& root = "/");

}  // namespace brimful::hardware
