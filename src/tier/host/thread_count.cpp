#include "tier/host/thread_count.h"

#include <algorithm>
#include <cmath>

namespace brimful::tier {
namespace {

using namespace std::chrono_literals;

// A window is so long that one time slice of another program, 4 ms, is no reason to take threads back. One
// window is none either: on a desktop something runs for some ten milliseconds all the time.
constexpr ThreadCount::Duration kWindow = 40ms;
constexpr int kWindowsOfWaits = 2;
constexpr ThreadCount::Duration kTrialWindow = 20ms;
constexpr ThreadCount::Duration kTrial = 200ms;
constexpr ThreadCount::Duration kBetweenIdle = 250ms;
constexpr ThreadCount::Duration kFirstTry = 2s;
constexpr ThreadCount::Duration kLongestBetweenTries = 16s;
// A thread that is taken back within this time after it was given was not worth it.
constexpr ThreadCount::Duration kAtOnce = 500ms;
// Where a thread waits for a smaller share of the time, its waits cost less than it gains.
constexpr double kLeastWait = 0.2;
constexpr double kRoomForOne = 0.8;
constexpr int kMostFailures = 3;
// Processors of other threads of this process: from the first number on they may be why a thread waits; below
// the second one they have ended.
constexpr double kOwnThreads = 0.25;
constexpr double kNoOwnThreads = 0.1;

double share(ThreadCount::Duration part, ThreadCount::Duration whole) {
  return whole.count() > 0 ? static_cast<double>(part.count()) / static_cast<double>(whole.count()) : 0;
}

}  // namespace

ThreadCount::Duration ThreadCount::window() const { return on_trial() ? kTrialWindow : kWindow; }

bool ThreadCount::wants_idle(Time time) const { return now_ < most_ && time - last_idle_ >= kBetweenIdle; }

void ThreadCount::computed(Time time, const Observation& seen) {
  if (seen.wall <= Duration{0}) return;
  if (for_own_ && now_ < most_ && seen.own_others < kNoOwnThreads) return give(time, most_ - now_);
  if (seen.threads < 2) return;
  // With n threads, a pass loses the time that its slowest thread waits. With one thread less, it would lose
  // one part in n.
  const double too_much = std::max(kLeastWait, 0.6 / seen.threads);
  if (share(seen.longest_wait, seen.wall) <= too_much) {
    waits_in_a_row_ = 0;
    trial_left_ = std::max(Duration{0}, trial_left_ - seen.wall);
    if (time - given_ > kAtOnce) failures_ = 0;
    return;
  }
  if (++waits_in_a_row_ < kWindowsOfWaits && !on_trial()) return;
  const double processors = seen.threads - share(seen.all_waits, seen.wall);
  for_own_ = seen.own_others >= kOwnThreads;
  const bool at_once = !for_own_ && given_ != Time{} && time - given_ < kAtOnce;
  failures_ = at_once ? std::min(failures_ + 1, kMostFailures) : 0;
  now_ = std::clamp(static_cast<int>(std::floor(processors + 0.25)), 1, seen.threads - 1);
  trial_left_ = Duration{0};
  next_try_ = time + std::min(kFirstTry * (1 << failures_), kLongestBetweenTries);
  last_idle_ = time;
  idle_in_a_row_ = 0;
  was_busy_ = !at_once;  // idle processors were no good sign: one must be seen busy first
}

void ThreadCount::processors_idle(Time time, std::optional<double> idle) {
  last_idle_ = time;
  if (now_ >= most_) return;
  const double room = idle.value_or(0);
  idle_in_a_row_ = room >= kRoomForOne ? idle_in_a_row_ + 1 : 0;
  was_busy_ |= room < kRoomForOne / 2;
  // The processors must be idle twice in a row, and more often after failures: a program that pauses for a
  // moment has not ended.
  const bool became_idle = was_busy_ && idle_in_a_row_ >= 2 + failures_;
  if (became_idle) return give(time, static_cast<int>(std::floor(room + 1 - kRoomForOne)));
  if (time >= next_try_) give(time, 1);
}

void ThreadCount::give(Time time, int threads) {
  now_ = std::min(most_, now_ + std::max(1, threads));
  trial_left_ = kTrial;
  given_ = time;
  idle_in_a_row_ = waits_in_a_row_ = 0;
  for_own_ = false;
}

}  // namespace brimful::tier
