#pragma once

#include <sys/types.h>

#include <filesystem>
#include <optional>

#include "base/bytes.h"

/// Facts from /proc about the memory of other processes, and about swapping. `root` stands before /proc in
/// all paths; tests give a recorded tree.
namespace brimful::hardware {

/// The memory of one process: VmRSS and VmSwap in /proc/PID/status.
struct ProcessUse {
  Bytes resident;
  Bytes swapped;
};

/// Reads the memory of process `pid`. Returns nullopt when the process has ended, or when the kernel does
/// not show its memory.
[[nodiscard]] std::optional<ProcessUse> read_process_use(pid_t pid, const std::filesystem::path& root = "/");

/// The bytes that were swapped since the machine started: `in` from the disk to memory, `out` from memory to
/// the disk.
struct SwapTraffic {
  Bytes in;
  Bytes out;
};

/// Reads the swap counters of the machine. Returns nullopt when the kernel does not have them.
[[nodiscard]] std::optional<SwapTraffic> read_swap_traffic(const std::filesystem::path& root = "/");

}  // namespace brimful::hardware
