#pragma once

#include <string>
#include <vector>

#include "hardware/profile.h"

namespace brimful::hardware {

/// The answer of NVIDIA's management library (NVML).
struct NvmlAnswer {
  /// Whether the library could be loaded.
  bool loaded = false;
  /// NVML's code of the last call that failed; 0 when none failed; -1 when the library lacks functions;
  /// kNoInstance.
  int error = 0;
  /// The library's own text for `error`.
  std::string error_text;
  /// The cards that answered. Of a divided card (MIG), each instance is a card.
  std::vector<Gpu> gpus;
};

/// NVML's error codes for which read_gpus() has advice of its own.
inline constexpr int kNvmlDriverNotLoaded = 9;
inline constexpr int kNvmlNoPermission = 4;
inline constexpr int kNvmlVersionMismatch = 18;
/// No code of NVML: a card is to be divided (MIG) and has no instance that this process may see.
inline constexpr int kNoInstance = -2;

/// Loads NVML from the file `library` into this process, and asks it for all cards. This runs the driver's
/// code, which may crash or never return; so read_gpus() calls the function in a process of its own.
[[nodiscard]] NvmlAnswer ask_nvml(const std::string& library);

}  // namespace brimful::hardware
