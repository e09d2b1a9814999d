#pragma once

#include <chrono>
#include <string>

#include "base/bytes.h"

namespace brimful {

/// One line on stderr that shows the progress of a long copy of bytes: percent, rate and time left.
/// The bar draws only when stderr is a terminal, and at most ten times a second; otherwise it does nothing.
/// Not thread-safe.
class ProgressBar {
 public:
  /// `label` stands in front of the numbers. `total` is the size of the whole copy, of which `already` is
  /// done and says nothing about the rate. The time starts now.
  ProgressBar(std::string label, Bytes total, Bytes already = {});
  ProgressBar(const ProgressBar&) = delete;
  ProgressBar& operator=(const ProgressBar&) = delete;
  /// Wipes the line, so that an error message can follow on a clean one.
  ~ProgressBar();

  /// Shows that `done` bytes of the whole copy are finished. `done` must not decrease from call to call.
  void update(Bytes done);

  /// Wipes the line until the next update, so that another line can be written.
  void wipe();

  /// Wipes the line. Further updates draw nothing.
  void finish();

 private:
  using Clock = std::chrono::steady_clock;

  const std::string label_;
  const Bytes total_;
  const Bytes already_;
  const Clock::time_point start_;
  Clock::time_point drawn_;
  /// Whether stderr is a terminal and finish() was not called yet.
  bool active_;
  /// Whether the terminal shows a line that has to be wiped.
  bool shown_ = false;
};

/// Returns the text of the progress line, without control characters:
/// `label  42%  1.20 GiB of 3.85 GiB  512.0 MiB/s  5 s left`. The rate and the time left are missing when the
/// rate is below 1 byte/s. The first `already` bytes were done before the time began. Pure.
[[nodiscard]] std::string progress_text(const std::string& label, Bytes done, Bytes total,
                                        std::chrono::duration<double> elapsed, Bytes already = {});

}  // namespace brimful
