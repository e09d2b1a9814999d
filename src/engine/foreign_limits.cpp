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

ForeignReading::ForeignReading() { reading.lock(); }
ForeignReading::~ForeignReading() { reading.unlock(); }

}  // namespace strata::engine
