#pragma once

#include <chrono>
#include <cstdint>
#include <mutex>
#include <optional>

namespace brimful::hub {

/// Slows several connections down, so that together they stay below a rate. Thread-safe.
class RateLimit {
 public:
  /// `bytes_per_s` unset: no limit.
  explicit RateLimit(std::optional<std::uint64_t> bytes_per_s) : rate_(bytes_per_s) {}

  /// Returns how long the caller has to wait, now that it has received `bytes`.
  [[nodiscard]] std::chrono::nanoseconds take(std::uint64_t bytes) {
    if (!rate_) return {};
    const std::lock_guard lock(mutex_);
    const auto now = Clock::now();
    // Time that nobody used is lost, so that a pause is not made up for.
    if (free_ < now) free_ = now;
    free_ += std::chrono::nanoseconds(
        static_cast<std::int64_t>(static_cast<double>(bytes) * 1e9 / static_cast<double>(*rate_)));
    return free_ - now;
  }

 private:
  using Clock = std::chrono::steady_clock;

  const std::optional<std::uint64_t> rate_;
  std::mutex mutex_;
  Clock::time_point free_{};
};

}  // namespace brimful::hub
