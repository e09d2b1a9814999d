#pragma once

#include <filesystem>
#include <optional>
#include <span>
#include <string_view>

#include "hardware/profile.h"

namespace brimful::hardware {

// The parse_ functions are pure; they take texts as the kernel writes them. In the read_ functions `root`
// stands before /proc and /sys; tests give a recorded tree.

/// Parses /proc/cpuinfo of x86 or ARM. All processors in it count as threads. When physical and core ids are
/// missing (ARM, some virtual machines), each thread counts as a core.
[[nodiscard]] Cpu parse_cpuinfo(std::string_view text);

// These functions return a cgroup's CPU quota as a number of processors, or nullopt when there is no limit.
// The text is v2's cpu.max (`150000 100000` is 1.5), or v1's cpu.cfs_quota_us and cpu.cfs_period_us.
[[nodiscard]] std::optional<double> parse_cpu_max(std::string_view text);
[[nodiscard]] std::optional<double> parse_cfs_quota(std::string_view quota, std::string_view period);

/// The number of threads that are worth running with a quota, at least 1 and at most `allowed`: one for each
/// whole processor of the quota, and one more when the rest is a quarter of a processor or more. When a
/// quota is used up, the kernel stops all threads together, so that last thread costs the others little.
/// Pure.
[[nodiscard]] std::uint32_t usable_threads(std::uint32_t allowed, std::optional<double> quota);

/// The smallest CPU quota among this process's own cgroup and those above it, in processors. Nullopt when
/// there is no limit.
[[nodiscard]] std::optional<double> read_cpu_quota(const std::filesystem::path& root = "/");

/// How many times a quota has stopped this process's own cgroup or one above it, summed over these cgroups.
/// 0 when the kernel does not count.
[[nodiscard]] std::uint64_t read_times_throttled(const std::filesystem::path& root = "/");

/// The time for which the given processors were idle or waited for I/O since the machine started: the sum
/// over the processors, in clock ticks, from the text of /proc/stat. Nullopt when the text lacks one of
/// them.
[[nodiscard]] std::optional<std::uint64_t> parse_idle_ticks(std::string_view proc_stat,
                                                            std::span<const std::uint32_t> processors);
/// Reads /proc/stat and parses it with parse_idle_ticks().
[[nodiscard]] std::optional<std::uint64_t> read_idle_ticks(std::span<const std::uint32_t> processors,
                                                           const std::filesystem::path& root = "/");

/// Reads this machine's CPU. Its `threads` are those that this process may use, by its affinity mask and CPU
/// quota. Fields that cannot be read stay as in Cpu{}.
[[nodiscard]] Cpu read_cpu(const std::filesystem::path& root = "/");

}  // namespace brimful::hardware
