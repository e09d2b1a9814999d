#pragma once

#include <filesystem>
#include <optional>
#include <string_view>

#include "hardware/profile.h"

namespace strata::hardware {

// The parsers are pure; texts as the kernel writes them.

/// /proc/cpuinfo of x86 or ARM. Threads: all that are listed. Without physical and core ids (ARM, some
/// virtual machines) each thread counts as a core.
[[nodiscard]] Cpu parse_cpuinfo(std::string_view text);

/// How many cores' time a cgroup may take: v2's cpu.max (`150000 100000` is 1.5), or v1's cpu.cfs_quota_us
/// and cpu.cfs_period_us. Nothing without a limit.
[[nodiscard]] std::optional<double> parse_cpu_max(std::string_view text);
[[nodiscard]] std::optional<double> parse_cfs_quota(std::string_view quota, std::string_view period);

/// Threads that can run at once with a quota: a part of a core would only make the others wait for it.
[[nodiscard]] std::uint32_t usable_threads(std::uint32_t allowed, std::optional<double> quota);

/// The tightest quota of this process's own cgroup and those above it. `root` stands before /proc and /sys.
[[nodiscard]] std::optional<double> read_cpu_quota(const std::filesystem::path& root = "/");

/// This machine's, with the threads that this process may run on. What cannot be read stays as in Cpu{}.
[[nodiscard]] Cpu read_cpu(const std::filesystem::path& root = "/");

}  // namespace strata::hardware
