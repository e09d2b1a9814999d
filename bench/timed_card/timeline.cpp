#include "timeline.h"

#include <sys/prctl.h>

#include <algorithm>
#include <ctime>

namespace brimful::timed_card {
namespace {

constexpr std::chrono::milliseconds kLook{2};  // between two looks at the use of the cores

Clock::duration ticks(double seconds) {
  return std::chrono::duration_cast<Clock::duration>(std::chrono::duration<double>(seconds));
}

double seconds(Clock::duration time) { return std::chrono::duration<double>(time).count(); }

double cpu_seconds_of_process() {
  timespec time{};
  clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &time);
  return static_cast<double>(time.tv_sec) + 1e-9 * static_cast<double>(time.tv_nsec);
}

}  // namespace

Time Timeline::enter(Stream& stream, Part part, double duration, Time asked) {
  const std::scoped_lock lock(mutex_);
  Time& free = free_[static_cast<int>(part)];
  const Time begin = std::max({asked, stream.end, free});
  stream.end = free = begin + ticks(duration);
  (part == Part::kCompute ? sums_.compute : sums_.link) += duration;
  return stream.end;
}

Time Timeline::copy(Stream& stream, Part part, std::uint64_t bytes, bool pinned, Time asked) {
  const double rate = pinned ? link_rate() : std::min(link_rate(), card_.pageable_rate);
  return enter(stream, part, card_.copy_latency + static_cast<double>(bytes) / rate, asked);
}

Time Timeline::end(const Stream& stream) const {
  const std::scoped_lock lock(mutex_);
  return stream.end;
}

void Timeline::hold(Stream& stream, Time time) {
  const std::scoped_lock lock(mutex_);
  stream.end = std::max(stream.end, time);
}

void Timeline::wait_until(Time time) {
  thread_local const int exact = prctl(PR_SET_TIMERSLACK, 1UL, 0, 0, 0);  // else the kernel adds 50 us
  static_cast<void>(exact);
  const Time begin = Clock::now();
  const auto since = time.time_since_epoch();
  const auto whole = std::chrono::duration_cast<std::chrono::seconds>(since);
  const timespec until{.tv_sec = whole.count(), .tv_nsec = std::chrono::nanoseconds(since - whole).count()};
  while (Clock::now() < time) clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &until, nullptr);
  const std::scoped_lock lock(mutex_);
  ++sums_.waits;
  sums_.waited += seconds(Clock::now() - begin);
}

Timeline::Sums Timeline::sums() const {
  const std::scoped_lock lock(mutex_);
  return sums_;
}

/// The rate of the link beside what the cores read now. RAM serves both, and the cores lose nothing to the
/// link here, so the link gets what is left.
double Timeline::link_rate() {
  if (card_.cores_rate <= 0) return card_.link_rate;
  const std::scoped_lock lock(mutex_);
  const double left = card_.together_rate - card_.cores_rate * cores_in_use(Clock::now());
  return std::clamp(left, card_.link_rate / 100, card_.link_rate);
}

/// From 0, nothing runs on the host, to 1, all cores are in use. A thread that spins while it waits counts,
/// too.
double Timeline::cores_in_use(Time now) {
  if (now - looked_ < kLook) return in_use_;
  const double cpu = cpu_seconds_of_process();
  if (looked_ != Time{})
    in_use_ = std::clamp((cpu - cpu_seconds_) / (seconds(now - looked_) * card_.cores), 0.0, 1.0);
  looked_ = now;
  cpu_seconds_ = cpu;
  return in_use_;
}

}  // namespace brimful::timed_card
