#pragma once

#include <string>
#include <vector>

#include "hardware/profile.h"

namespace brimful::hardware {

/// What NVIDIA's management library answers.
struct NvmlAnswer {
  bool loaded = false;     ///< the library is there
  int error = 0;           ///< its code for what failed; 0: nothing did
  std::string error_text;  ///< in its own words
  std::vector<Gpu> gpus;   ///< those that answered
};

/// NVML's codes that call for different advice.
inline constexpr int kNvmlDriverNotLoaded = 9;
inline constexpr int kNvmlNoPermission = 4;
inline constexpr int kNvmlVersionMismatch = 18;

/// Loads `library` into this process and asks it. It runs the driver's code, which may crash or never return:
/// read_gpus() calls this in a process of its own.
[[nodiscard]] NvmlAnswer ask_nvml(const std::string& library);

}  // namespace brimful::hardware
