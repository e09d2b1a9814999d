#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <span>
#include <string>
#include <vector>

namespace brimful::hardware {

/// The limits on how many threads of this process can compute at the same time.
struct ComputeLimits {
  /// The number of logical processors that this process may run on. At least 1.
  std::uint32_t processors = 1;
  /// The number of physical cores among them. On a CPU with performance and efficiency cores, only the
  /// performance cores count. At least 1.
  std::uint32_t cores = 1;
  /// The processor seconds per second that the process's cgroups allow. Unset when there is no limit.
  std::optional<double> quota;

  /// The default number of threads: one for each core, or fewer when the quota allows fewer. At least 1.
  [[nodiscard]] std::uint32_t best() const;
  /// The largest number of threads that can run at the same time. At least 1.
  [[nodiscard]] std::uint32_t most() const;
  /// The reason why most() is not larger, as the end of a message that goes "this process may use": `2
  /// processors`, `a CPU quota of 1.5 processors`.
  [[nodiscard]] std::string reason() const;
};

/// The logical processors in the calling thread's affinity mask, ascending. Cpusets and taskset restrict
/// that mask. Empty when the kernel does not tell.
[[nodiscard]] std::vector<std::uint32_t> allowed_processors();

/// Parses a list of processors as the kernel writes it: `0-3,8`. Parts that cannot be parsed are left out.
/// Pure.
[[nodiscard]] std::vector<std::uint32_t> parse_processor_list(std::string_view text);

/// Reads the limits for a process that may run on `processors`. `root` stands before /proc and /sys; tests
/// give a recorded tree. A processor whose topology cannot be read counts as a core of its own.
[[nodiscard]] ComputeLimits read_compute_limits(std::span<const std::uint32_t> processors,
                                                const std::filesystem::path& root = "/");
/// Reads the limits of this process.
[[nodiscard]] ComputeLimits read_compute_limits();

/// A number of threads, with a note for the user.
struct ThreadChoice {
  int threads = 1;
  /// A message for the user. Set when there are fewer threads than the user asked for.
  std::optional<std::string> note;
};

/// Decides the number of threads: the user's number `wanted`, but at most limits.most(); the default when
/// `wanted` is unset. `flag` is the name of the user's flag, for the note. Pure.
[[nodiscard]] ThreadChoice choose_threads(std::optional<int> wanted, const ComputeLimits& limits,
                                          const std::string& flag);

}  // namespace brimful::hardware
