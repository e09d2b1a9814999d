#pragma once

#include <chrono>
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "hardware/profile.h"

namespace brimful::hardware {

/// The GPUs of a machine.
struct Gpus {
  /// The cards for which a driver answers. Of their rates, only that of their memory may be set.
  std::vector<Gpu> cards;
  /// One line that says what is wrong with a card or driver, and what to do. Unset when nothing is wrong.
  std::optional<std::string> problem;
};

/// How to ask for the GPUs. Tests replace the defaults.
struct GpuQuery {
  /// The file name of NVIDIA's management library (NVML).
  std::string library = "libnvidia-ml.so.1";
  /// The longest time that the driver may take.
  std::chrono::milliseconds limit{5000};
  /// The folder that stands before /sys and /proc.
  std::filesystem::path root = "/";
};

/// Asks NVIDIA's management library for the GPUs. It is called in a process of its own, so a driver that
/// crashes or hangs does no harm to this process. A machine without the library and without a card has
/// neither cards nor a problem.
/// Blocks: at most `limit` and half a second.
/// Threading: call it while this process has no other threads (see run_in_child()).
[[nodiscard]] Gpus read_gpus(const GpuQuery& query = {});

/// An NVIDIA display or compute card on the PCI bus.
struct PciCard {
  std::string address;  ///< `0000:01:00.0`
  /// The kernel driver of the card, such as `nvidia`, `nouveau` or `vfio-pci`; empty when it has none.
  std::string driver;
};

/// Reads the NVIDIA cards on the PCI bus, by ascending address. `root` stands before /sys.
[[nodiscard]] std::vector<PciCard> read_nvidia_cards(const std::filesystem::path& root = "/");

}  // namespace brimful::hardware
