#pragma once

#include <chrono>
#include <optional>

namespace brimful::tier {

/// Decides how many threads compute, from observations. It takes threads back while other programs use the
/// processors, and gives them again afterwards.
///
/// ggml's threads meet at a barrier behind every node of a graph and spin there. Where one of them waits for
/// a processor, all of them wait for it, for a time slice (3 to 4 ms) at each node. So one thread too many
/// costs more than all of them gain. See docs/design-defaults.md.
///
/// Pure: the time comes with the observations. Threading: one thread at a time.
class ThreadCount {
 public:
  using Time = std::chrono::steady_clock::time_point;
  using Duration = std::chrono::nanoseconds;

  /// A stretch of computing.
  struct Observation {
    /// The number of threads that computed: now(), or fewer where a graph wants fewer.
    int threads = 1;
    /// The time that the stretch took.
    Duration wall{0};
    /// The time that a thread was ready to run and had no processor: of the thread that waited longest.
    Duration longest_wait{0};
    /// The same time, summed over all threads.
    Duration all_waits{0};
    /// Processors that other threads of this process used meanwhile, on average: those that read and send
    /// weights.
    double own_others = 0;
  };

  /// `most` is the user's number of threads, at least 1. At first all of them compute.
  explicit ThreadCount(int most) : most_(most), now_(most) {}

  [[nodiscard]] int most() const { return most_; }
  [[nodiscard]] int now() const { return now_; }
  /// Whether a thread was given again a moment ago, so that observations should be short.
  [[nodiscard]] bool on_trial() const { return trial_left_ > Duration{0}; }
  /// How long an observation should be.
  [[nodiscard]] Duration window() const;
  /// Whether processors_idle() should be called at `time`.
  [[nodiscard]] bool wants_idle(Time time) const;

  /// Takes an observation that ended at `time`.
  void computed(Time time, const Observation& observation);
  /// `idle` is the number of processors this process may use that were idle since the last call, on average.
  /// Unset where that is not known.
  void processors_idle(Time time, std::optional<double> idle);

  /// Sets the number of threads that compute, from 1 to most(), as if observations had led there.
  void set(int threads) { now_ = threads; }

 private:
  void give(Time time, int threads);

  const int most_;
  int now_;
  // Time left to compute until the thread that was given again is trusted.
  Duration trial_left_{0};
  // When threads were given the last time.
  Time given_{};
  // When a thread is given again even if no processor is idle.
  Time next_try_{};
  Time last_idle_{};
  // Calls of processors_idle() in a row that found room for a thread.
  int idle_in_a_row_ = 0;
  // Whether another program used the processors since threads were taken back.
  bool was_busy_ = false;
  // Whether threads were taken back while other threads of this process used the processors.
  bool for_own_ = false;
  // Observations in a row in which a thread waited for too long.
  int waits_in_a_row_ = 0;
  // Threads in a row that were given and taken back at once.
  int failures_ = 0;
};

}  // namespace brimful::tier
