#include "engine/foreign_limits.h"

#include <algorithm>
#include <atomic>
#include <mutex>

namespace strata::engine {
namespace {

constexpr Bytes kMostForReading = kMiB * 20;
constexpr Bytes kMostForSampling = kMiB * 8;
constexpr Bytes kLeastForReading = kMiB * 4;
constexpr Bytes kLeastForSampling = kMiB * 2;
constexpr std::uint64_t kShareForReading = 12;  // of the budget: a twelfth
constexpr std::uint64_t kShareForSampling = 24;
constexpr std::chrono::milliseconds kTimeForReading{1000};
constexpr std::uint64_t kForTextToken =
    400;  // bytes for each token that a context holds: some 5 bytes of text
constexpr std::chrono::microseconds kTimeForTextToken{20};
constexpr std::uint64_t kShareForText = 4;  // of the budget, where there is no context yet: a quarter
constexpr std::chrono::milliseconds kTimeForToken{500};  // all other answers wait as long

std::atomic<std::uint64_t> budget_of_process{UINT64_MAX};
std::recursive_mutex reading;

}  // namespace

ForeignLimits foreign_limits_for(Bytes budget) {
  const auto part = [&](std::uint64_t share, Bytes least, Bytes most) {
    return std::clamp(Bytes{budget.value / share}, least, most);
  };
  return {{part(kShareForReading, kLeastForReading, kMostForReading), kTimeForReading},
          {part(kShareForSampling, kLeastForSampling, kMostForSampling), kTimeForToken}};
}

ForeignLimits foreign_limits() { return foreign_limits_for(Bytes{budget_of_process.load()}); }
void set_foreign_limits(Bytes budget) { budget_of_process = budget.value; }

FenceLimits limits_of_text(std::optional<std::uint64_t> tokens) {
  FenceLimits out = foreign_limits().reading;
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

ForeignReading::ForeignReading() { reading.lock(); }
ForeignReading::~ForeignReading() { reading.unlock(); }

}  // namespace strata::engine
