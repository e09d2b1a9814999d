#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <span>
#include <string>
#include <vector>

namespace brimful::hardware {

/// What limits how many threads of this process can compute at the same time.
struct ComputeLimits {
  std::uint32_t processors = 1;  ///< Logical processors that this process may run on. At least 1.
  std::uint32_t cores = 1;       ///< Physical cores among them; of a hybrid CPU, only the performance cores.
  std::optional<double> quota;   ///< Processor seconds per second that its cgroups allow. Unset: no limit.

  /// The default number of threads: one for each core, as far as the quota goes. At least 1.
  [[nodiscard]] std::uint32_t best() const;
  /// More threads than this can never run at the same time. At least 1.
  [[nodiscard]] std::uint32_t most() const;
  /// Why most() is not larger, to be put behind "this process may use": `2 processors`, `a CPU quota of 1.5`.
  [[nodiscard]] std::string reason() const;
};

/// The logical processors in the calling thread's affinity mask (cpusets and taskset shape it), ascending.
/// Empty where the kernel does not tell.
[[nodiscard]] std::vector<std::uint32_t> allowed_processors();

/// A list as the kernel writes it: `0-3,8`. What cannot be read is left out.
[[nodiscard]] std::vector<std::uint32_t> parse_processor_list(std::string_view text);

/// Reads the limits for a process that may run on `processors`. `root` stands before /proc and /sys (tests
/// give a recorded tree). A processor whose topology cannot be read counts as a core of its own.
[[nodiscard]] ComputeLimits read_compute_limits(std::span<const std::uint32_t> processors,
                                                const std::filesystem::path& root = "/");
/// Reads the limits of this process.
[[nodiscard]] ComputeLimits read_compute_limits();

/// A number of threads, and what to tell the user about it.
struct ThreadChoice {
  int threads = 1;
  std::optional<std::string> note;  ///< Set where fewer threads are used than the user asked for.
};

/// Takes the user's number, lowered to what can run at the same time, or the default where there is none.
/// `flag` names the user's flag in the note.
[[nodiscard]] ThreadChoice choose_threads(std::optional<int> wanted, const ComputeLimits& limits,
                                          const std::string& flag);

}  // namespace brimful::hardware
