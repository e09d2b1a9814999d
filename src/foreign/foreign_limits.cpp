#include "foreign/foreign_limits.h"

#include <algorithm>
#include <atomic>
#include <mutex>

namespace brimful::foreign {
namespace {

constexpr Bytes kMostForReading = kMiB * 20;
constexpr Bytes kMostForSampling = kMiB * 8;
constexpr Bytes kLeastForReading = kMiB * 4;
constexpr Bytes kLeastForSampling = kMiB * 2;
// Reading may take a twelfth of the budget.
constexpr std::uint64_t kShareForReading = 12;
constexpr std::uint64_t kShareForSampling = 24;
constexpr std::chrono::milliseconds kTimeForReading{1000};
// Bytes for each token that a context holds. A token is some 5 bytes of text.
constexpr std::uint64_t kForTextToken = 400;
constexpr std::chrono::microseconds kTimeForTextToken{20};
constexpr std::uint64_t kShareForText = 4;  // a quarter of the budget, when there is no context yet
constexpr std::chrono::milliseconds kTimeForToken{500};  // all other answers wait for that time

// For requests that arrive at the same time: the time until the last one is answered, and how many others
// count.
constexpr std::chrono::milliseconds kUntilAllAreRead{4000};
constexpr std::size_t kMostOthers = 7;
constexpr std::chrono::milliseconds kLeastShare{250};
constexpr std::chrono::milliseconds kLongest{2500};

using Clock = std::chrono::steady_clock;
using std::chrono::milliseconds;

std::atomic<std::uint64_t> budget_of_process{UINT64_MAX};
std::atomic<std::size_t> arrived{0};  // number of requests that are not read yet
std::mutex reading;
constinit thread_local bool has_right = false;
constinit thread_local ForeignTime* time_of_request = nullptr;

milliseconds in_milliseconds(std::chrono::nanoseconds time) {
  return std::chrono::duration_cast<milliseconds>(time);
}

}  // namespace

milliseconds share_of_reading(std::size_t others, milliseconds waited) {
  const auto many = static_cast<std::int64_t>(1 + std::min(others, kMostOthers));
  return std::clamp((kUntilAllAreRead - waited) / many, kLeastShare, kLongest);
}

ForeignLimits foreign_limits_for(Bytes budget) {
  const auto part = [&](std::uint64_t share, Bytes least, Bytes most) {
    return std::clamp(Bytes{budget.value / share}, least, most);
  };
  return {{part(kShareForReading, kLeastForReading, kMostForReading), kTimeForReading},
          {part(kShareForSampling, kLeastForSampling, kMostForSampling), kTimeForToken}};
}

ForeignLimits foreign_limits() {
  ForeignLimits out = foreign_limits_for(Bytes{budget_of_process.load()});
  out.reading.may_escape = true;
  out.reading.bytes -= std::min(out.reading.bytes, memory_lost_to_escapes());
  if (time_of_request == nullptr || !time_of_request->share_) return out;
  const ForeignTime::Times used = time_of_request->used();
  const milliseconds left_of_processor = std::max(out.reading.time - used.processor, milliseconds(0));
  for (FenceLimits* const limits : {&out.reading, &out.sampling}) {
    const milliseconds left = std::max(*time_of_request->share_ - used.clock, milliseconds(0));
    limits->longest = left;
    limits->used = std::max(limits->time - left_of_processor, milliseconds(0));
  }
  return out;
}
void set_foreign_limits(Bytes budget) { budget_of_process = budget.value; }

FenceLimits limits_of_text(std::optional<std::uint64_t> tokens) {
  FenceLimits out = foreign_limits().reading;
  out.longest.reset();  // a harmless text may be long, and its work ends by itself
  out.used = milliseconds(0);
  if (!tokens) {
    out.bytes = std::max(out.bytes, Bytes{budget_of_process.load() / kShareForText});
    out.time *= 3;  // nobody else waits
    return out;
  }
  out.bytes = std::max(out.bytes, Bytes{kForTextToken * *tokens});
  out.time =
      std::max(out.time, std::chrono::duration_cast<std::chrono::milliseconds>(kTimeForTextToken * *tokens));
  return out;
}

Bytes bytes_for_text(std::uint64_t tokens, Bytes budget) {
  return std::max(foreign_limits_for(budget).reading.bytes, Bytes{kForTextToken * tokens});
}

ForeignArrival::ForeignArrival() { ++arrived; }
ForeignArrival::~ForeignArrival() { --arrived; }

ForeignTime::ForeignTime(const ForeignArrival& arrival) : arrival_(arrival) { time_of_request = this; }
ForeignTime::~ForeignTime() { time_of_request = nullptr; }

ForeignTime::Times ForeignTime::now() {
  return {in_milliseconds(Clock::now().time_since_epoch()), in_milliseconds(processor_time_of_thread())};
}

void ForeignTime::begin() {
  begun_ = now();
  if (!share_) share_ = share_of_reading(arrived - 1, in_milliseconds(Clock::now() - arrival_.when()));
}

void ForeignTime::end() {
  used_ = used();
  begun_.reset();
}

ForeignTime::Times ForeignTime::used() const {
  if (!begun_) return used_;
  const Times time = now();
  return {used_.clock + time.clock - begun_->clock, used_.processor + time.processor - begun_->processor};
}

ForeignReading::ForeignReading() : is_outer_(!has_right) {
  if (!is_outer_) return;
  reading.lock();
  has_right = true;
  if (time_of_request != nullptr) time_of_request->begin();
}

ForeignReading::~ForeignReading() {
  if (!is_outer_) return;
  if (time_of_request != nullptr) time_of_request->end();
  has_right = false;
  reading.unlock();
}

}  // namespace brimful::foreign
