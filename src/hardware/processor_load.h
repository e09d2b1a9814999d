#pragma once

#include <chrono>
#include <cstdint>
#include <filesystem>
#include <optional>
#include <span>
#include <string_view>
#include <vector>

namespace brimful::hardware {

/// Clock ticks that some processors were busy since the machine started, all together: with any program, the
/// kernel, or (of a virtual machine) taken by its host. From the text of /proc/stat. Unset where one of the
/// processors is not in it.
[[nodiscard]] std::optional<std::uint64_t> parse_busy_ticks(std::string_view proc_stat,
                                                            std::span<const std::uint32_t> processors);

/// How much of the processors that this process may use other programs take.
/// Threading: one thread at a time.
class ProcessorLoad {
 public:
  ProcessorLoad();

  /// Processors in use by others since the last call, or since the constructor, on average: from 0 to the
  /// number of processors. The time of this process, of all its threads, and of its children that have ended
  /// is not counted. Unset where the kernel does not tell. Times shorter than 100 ms are inexact.
  [[nodiscard]] std::optional<double> of_others();

 private:
  struct Account {
    std::chrono::steady_clock::time_point at;
    std::optional<double> busy;  ///< Seconds, of all processors.
    double own = 0;              ///< Seconds.
  };
  [[nodiscard]] Account read() const;

  const std::vector<std::uint32_t> processors_;
  Account before_;
};

/// Whether so many processors in use by others make measured rates untrue.
[[nodiscard]] bool is_loaded(double processors_of_others);

}  // namespace brimful::hardware
