#pragma once

#include <chrono>
#include <string>

#include "base/bytes.h"

namespace brimful {

/// One line on stderr that shows how far a long copy of bytes has come: percent, rate and time left.
/// Draws only where stderr is a terminal, and at most ten times a second; otherwise it does nothing.
/// Not thread-safe.
class ProgressBar {
 public:
  ProgressBar(std::string label, Bytes total);
  ProgressBar(const ProgressBar&) = delete;
  ProgressBar& operator=(const ProgressBar&) = delete;
  /// Wipes the line, so that an error message can follow on a clean one.
  ~ProgressBar();

  /// `done` counts from the start, and never goes back.
  void update(Bytes done);

  /// Wipes the line. Further updates draw nothing.
  void finish();

 private:
  using Clock = std::chrono::steady_clock;

  const std::string label_;
  const Bytes total_;
  const Clock::time_point start_;
  Clock::time_point drawn_;
  bool active_;         // stderr is a terminal, and finish() was not called
  bool shown_ = false;  // there is a line to wipe
};

/// The text of the line, without control characters: `label  42%  1.20 GiB of 3.85 GiB  512.0 MiB/s  5 s
/// left`.
[[nodiscard]] std::string progress_text(const std::string& label, Bytes done, Bytes total,
                                        std::chrono::duration<double> elapsed);

}  // namespace brimful
