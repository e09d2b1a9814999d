#pragma once

#include <string>

#include "engine/generator.h"
#include "schedule/scheduler.h"

namespace brimful::cli {

/// What a run took, over all its turns.
struct RunReport {
  double load_seconds = 0;
  engine::Generation total;  ///< of all turns; texts left out

  void add(const engine::Generation& turn);
};

/// What a batch took.
struct BatchReport {
  double load_seconds = 0;
  std::chrono::nanoseconds took{0};  ///< without loading
  schedule::Statistics did;
};

/// Two lines for people: prompt, decode, bytes from disk, peak memory.
[[nodiscard]] std::string describe(const RunReport& report, const engine::Engine& engine);

/// A line for people: what was computed, and how fast.
[[nodiscard]] std::string describe(const BatchReport& report);

/// Whether a file can be written at `path`, found out before a long run. Errors: kIo.
[[nodiscard]] Status check_writable(const std::string& path);

/// Writes the statistics file (docs/stats.md). Errors: kIo.
[[nodiscard]] Status write_stats(const std::string& path, const RunReport& report,
                                 const engine::Engine& engine, const std::string& model);
[[nodiscard]] Status write_stats(const std::string& path, const BatchReport& report,
                                 const engine::Engine& engine, const std::string& model);

}  // namespace brimful::cli
