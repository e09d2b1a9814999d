#pragma once

#include <string>

#include "schedule/scheduler.h"
#include "session/turn.h"

namespace brimful::cli {

/// The statistics of `brimful run`.
struct RunReport {
  /// The time from the start of the command until the model is ready to compute.
  double load_seconds = 0;
  /// The sums over all turns of a chat. The texts are left out.
  session::Turn total;

  /// Adds a turn to `total`.
  void add(const session::Turn& turn);
};

/// The statistics of `brimful batch`.
struct BatchReport {
  /// The time from the start of the command until the model is ready to compute.
  double load_seconds = 0;
  /// The time to compute, without loading.
  std::chrono::nanoseconds took{0};
  schedule::Statistics did;
};

/// Describes a run for people in two or three lines: prompt, decode, drafts if there were any, bytes from
/// disk, and peak memory.
[[nodiscard]] std::string describe(const RunReport& report, const engine::Engine& engine);

/// Describes a batch for people in one line: what was computed, and how fast.
[[nodiscard]] std::string describe(const BatchReport& report);

/// Checks before a long run that a file can be written at `path`; a missing file is created empty. Errors:
/// kIo.
[[nodiscard]] Status check_writable(const std::string& path);

// These write the statistics file (docs/stats.md). `model` is the model as the user named it. Errors: kIo.
[[nodiscard]] Status write_stats(const std::string& path, const RunReport& report,
                                 const engine::Engine& engine, const std::string& model);
[[nodiscard]] Status write_stats(const std::string& path, const BatchReport& report,
                                 const engine::Engine& engine, const std::string& model);

}  // namespace brimful::cli
