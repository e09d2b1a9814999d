#pragma once

#include <chrono>
#include <cstdint>
#include <filesystem>
#include <optional>
#include <span>
#include <string_view>
#include <vector>

namespace brimful::hardware {

/// The time for which the given processors were busy since the machine started: the sum over the processors,
/// in clock ticks, from the text of /proc/stat. Busy means that a program or the kernel ran, or that the
/// host of a virtual machine took the processor away. Nullopt when the text lacks one of the processors.
/// Pure.
[[nodiscard]] std::optional<std::uint64_t> parse_busy_ticks(std::string_view proc_stat,
                                                            std::span<const std::uint32_t> processors);

/// Measures how much other programs use the processors that this process may run on.
/// Threading: one thread at a time.
class ProcessorLoad {
 public:
  /// Starts the measurement.
  ProcessorLoad();

  /// The average number of processors that other programs used since the last call, or since the
  /// constructor: from 0 to the number of processors. The time of this process, with all its threads and its
  /// children that have ended, does not count. Nullopt when the kernel does not tell. Intervals below 100 ms
  /// give inexact results.
  [[nodiscard]] std::optional<double> of_others();

 private:
  /// The processor time used until one moment, in seconds: `busy` by everything on all processors (unset
  /// when the kernel does not tell), `own` by this process and its ended children.
  struct Account {
    std::chrono::steady_clock::time_point at;
    std::optional<double> busy;
    double own = 0;
  };
  [[nodiscard]] Account read() const;

  const std::vector<std::uint32_t> processors_;
  Account before_;
};

/// Whether the use of so many processors by other programs makes measured rates wrong: above 0.15
/// processors.
[[nodiscard]] bool is_loaded(double processors_of_others);

}  // namespace brimful::hardware
