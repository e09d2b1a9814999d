#pragma once

#include <sys/types.h>

#include <filesystem>
#include <optional>

#include "base/bytes.h"

/// What the kernel shows of other processes, and of swapping.
namespace brimful::hardware {

struct ProcessUse {
  Bytes resident;  ///< VmRSS
  Bytes swapped;   ///< VmSwap
};

/// Nothing where the process has ended, or is not shown. `root` stands before /proc.
[[nodiscard]] std::optional<ProcessUse> read_process_use(pid_t pid, const std::filesystem::path& root = "/");

/// Since the machine started.
struct SwapTraffic {
  Bytes in;
  Bytes out;
};
[[nodiscard]] std::optional<SwapTraffic> read_swap_traffic(const std::filesystem::path& root = "/");

}  // namespace brimful::hardware
