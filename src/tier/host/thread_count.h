#pragma once

#include <chrono>
#include <optional>

namespace brimful::tier {

/// Decides how many threads compute, from what was observed: it takes threads back while other programs use
/// the processors, and gives them again afterwards.
///
/// ggml's threads meet at a barrier behind every node of a graph and spin there. Where one of them waits for
/// a processor, all wait for it, for a time slice (3 to 4 ms) at each node: one thread too many costs more
/// than all of them gain. See docs/design-defaults.md.
///
/// Pure: time comes with the observations. Threading: one thread at a time.
class ThreadCount {
 public:
  using Time = std::chrono::steady_clock::time_point;
  using Duration = std::chrono::nanoseconds;

  /// A stretch of computing.
  struct Observation {
    int threads = 1;           ///< That computed: now(), or fewer where a graph wants fewer.
    Duration wall{0};          ///< How long it took.
    Duration longest_wait{0};  ///< The time that one of the threads could have run and had no processor.
    Duration all_waits{0};     ///< The same, of all threads together.
  };

  /// `most`: the user's number of threads, at least 1. It begins with all of them.
  explicit ThreadCount(int most) : most_(most), now_(most) {}

  [[nodiscard]] int most() const { return most_; }
  [[nodiscard]] int now() const { return now_; }
  /// Whether a thread was given again a moment ago, so that observations should be short.
  [[nodiscard]] bool on_trial() const { return trial_left_ > Duration{0}; }
  /// How long an observation should be.
  [[nodiscard]] Duration window() const;
  /// Whether processors_idle() wants to be told at `time`.
  [[nodiscard]] bool wants_idle(Time time) const;

  void computed(Time time, const Observation& observation);
  /// How many of the processors that this process may use were idle since the last call, on average. Unset
  /// where that is not known.
  void processors_idle(Time time, std::optional<double> idle);

  /// Sets how many compute, from 1 to most(), as if observations had led there.
  void set(int threads) { now_ = threads; }

 private:
  void give(Time time, int threads);

  const int most_;
  int now_;
  Duration trial_left_{0};  // of computing, until the thread that was given again is trusted
  Time given_{};            // when threads were given the last time
  Time next_try_{};         // when a thread is given again even if no processor is idle
  Time last_idle_{};
  int idle_in_a_row_ = 0;  // calls of processors_idle() in a row with room for a thread
  bool was_busy_ = false;  // another program used the processors since threads were taken back
  int failures_ = 0;       // threads that were given and taken back at once, in a row
};

}  // namespace brimful::tier
