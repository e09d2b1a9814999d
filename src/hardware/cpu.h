#pragma once

#include <filesystem>
#include <optional>
#include <span>
#include <string_view>

#include "hardware/profile.h"

namespace brimful::hardware {

// The parsers are pure; texts as the kernel writes them.

/// /proc/cpuinfo of x86 or ARM. Threads: all that are listed. Without physical and core ids (ARM, some
/// virtual machines) each thread counts as a core.
[[nodiscard]] Cpu parse_cpuinfo(std::string_view text);

/// How many cores' time a cgroup may take: v2's cpu.max (`150000 100000` is 1.5), or v1's cpu.cfs_quota_us
/// and cpu.cfs_period_us. Nothing without a limit.
[[nodiscard]] std::optional<double> parse_cpu_max(std::string_view text);
[[nodiscard]] std::optional<double> parse_cfs_quota(std::string_view quota, std::string_view period);

/// Threads worth running with a quota: all its whole processors, and one more for a quarter of one or more.
/// The kernel stops all threads together where a quota is used up, so the last one costs the others little.
[[nodiscard]] std::uint32_t usable_threads(std::uint32_t allowed, std::optional<double> quota);

/// The tightest quota of this process's own cgroup and those above it. `root` stands before /proc and /sys.
[[nodiscard]] std::optional<double> read_cpu_quota(const std::filesystem::path& root = "/");

/// How often a quota has stopped this process's own cgroup or one above it, in all; 0 where none is counted.
[[nodiscard]] std::uint64_t read_times_throttled(const std::filesystem::path& root = "/");

/// How long some of the processors were idle since the machine started, in clock ticks, all together; from
/// the text of /proc/stat. Unset where one of them is not in it.
[[nodiscard]] std::optional<std::uint64_t> parse_idle_ticks(std::string_view proc_stat,
                                                            std::span<const std::uint32_t> processors);
/// The same, of this machine.
[[nodiscard]] std::optional<std::uint64_t> read_idle_ticks(std::span<const std::uint32_t> processors,
                                                           const std::filesystem::path& root = "/");

/// This machine's, with the threads that this process may run on. What cannot be read stays as in Cpu{}.
[[nodiscard]] Cpu read_cpu(const std::filesystem::path& root = "/");

}  // namespace brimful::hardware
