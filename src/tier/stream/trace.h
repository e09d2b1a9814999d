#pragma once

#include <chrono>
#include <cstdint>
#include <filesystem>
#include <mutex>
#include <set>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/bytes.h"
#include "base/result.h"

namespace brimful::tier {

/// What happened when: passes, runs, waits and reads, for chrome://tracing and Perfetto. Keeps the first
/// kMostEvents in memory of its own and drops what comes after. Thread-safe.
class Trace {
 public:
  using Clock = std::chrono::steady_clock;
  static constexpr std::size_t kMostEvents = 1U << 16;
  static constexpr std::size_t kMostExperts = 1U << 18;
  static constexpr std::size_t kMostNames = 1U << 12;  ///< different ones; of tensors, most

  /// A line of the picture. Reads that are under way together have lines of their own, from kReads on.
  enum Lane : std::uint32_t { kPasses, kRuns, kWaits, kExperts, kReads };

  Trace();

  /// From `begin` until now. `name` is copied, once for each different one. `experts`: of a step.
  void span(std::uint32_t lane, std::string_view name, Clock::time_point begin, std::uint64_t bytes = 0,
            std::span<const std::uint32_t> experts = {});
  /// A value that holds from now on: bytes of the ring that wait to be used.
  void ring(std::uint64_t bytes);

  /// Errors: kIo. The format is Chrome's trace event format, JSON array.
  [[nodiscard]] Status write(const std::filesystem::path& path) const;

  /// What it holds, from the start.
  [[nodiscard]] static Bytes bytes();

 private:
  struct Event {
    const std::string* name = nullptr;  // in names_
    std::uint32_t lane = 0;
    std::uint32_t experts = 0;  // how many of experts_, from first_expert on
    std::uint32_t first_expert = 0;
    std::int64_t begin_ns = 0;
    std::int64_t end_ns = 0;
    std::uint64_t bytes = 0;
  };
  [[nodiscard]] std::int64_t since_start(Clock::time_point at) const;

  const Clock::time_point start_ = Clock::now();
  mutable std::mutex mutex_;
  std::set<std::string, std::less<>> names_;  // elements stay where they are
  std::vector<Event> events_;
  std::vector<std::uint32_t> experts_;
  std::size_t dropped_ = 0;
};

}  // namespace brimful::tier
