#pragma once

#include <chrono>
#include <cstdint>
#include <mutex>

#include "card.h"

namespace brimful::timed_card {

using Clock = std::chrono::steady_clock;
using Time = Clock::time_point;

/// When the work of a simulated card ends. Nothing runs in the background: work is entered with its duration,
/// begins when its stream, and the part of the card that does it, have nothing earlier to do, and whoever
/// needs its result sleeps until its end. So a wake-up that comes late delays nothing that was entered
/// before. Threading: all functions may be called by several threads at once.
class Timeline {
 public:
  /// The parts of a card that work at the same time, each on one piece of work at a time.
  enum class Part { kCompute, kToCard, kToHost };

  /// Work that is done in order. Guarded by its timeline.
  struct Stream {
    Time end{};
  };

  explicit Timeline(const Card& card) : card_(card) {}

  /// Enters work that was asked for at `asked`, and returns when it ends.
  Time enter(Stream& stream, Part part, double seconds, Time asked);
  /// Enters a copy. `pinned`: whether the host's memory is pinned.
  Time copy(Stream& stream, Part part, std::uint64_t bytes, bool pinned, Time asked);
  /// When everything that was entered to the stream ends.
  [[nodiscard]] Time end(const Stream& stream) const;
  /// Lets the stream begin nothing before `time`.
  void hold(Stream& stream, Time time);
  /// Sleeps until `time`.
  void wait_until(Time time);

  /// Sums since the start, in seconds.
  struct Sums {
    double compute = 0;
    double link = 0;
    double waited = 0;
    std::uint64_t waits = 0;
  };
  [[nodiscard]] Sums sums() const;

 private:
  [[nodiscard]] double link_rate();
  [[nodiscard]] double cores_in_use(Time now);

  const Card& card_;
  mutable std::mutex mutex_;
  Time free_[3]{};  // When each part has nothing earlier to do.
  Sums sums_;
  // The use of the cores since the last look at the clock of the process.
  Time looked_{};
  double cpu_seconds_ = 0;
  double in_use_ = 0;
};

}  // namespace brimful::timed_card
