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

/// Records what happened when (passes, segments, waits and reads) for chrome://tracing and Perfetto. It keeps
/// the first kMostEvents events in memory of its own and drops later ones. Thread-safe.
class Trace {
 public:
  using Clock = std::chrono::steady_clock;
  /// Largest number of events.
  static constexpr std::size_t kMostEvents = 1U << 16;
  /// Largest number of expert numbers that all events together keep.
  static constexpr std::size_t kMostExperts = 1U << 18;
  /// Largest number of different names. Most of them are names of tensors.
  static constexpr std::size_t kMostNames = 1U << 12;

  /// A line of the picture. Reads that are in flight together have lines of their own, numbered from kReads
  /// on.
  enum Lane : std::uint32_t { kPasses, kSegments, kWaits, kExperts, kReads };

  Trace();

  /// Records an event that began at `begin` and ends now. `name` is copied, once for each different one.
  /// `bytes` is shown unless it is 0. `experts` are the experts that a step of a mixture uses.
  void span(std::uint32_t lane, std::string_view name, Clock::time_point begin, std::uint64_t bytes = 0,
            std::span<const std::uint32_t> experts = {});
  /// Records a value that holds from now on: the bytes in the ring that were read and are not released yet.
  void ring(std::uint64_t bytes);

  /// Writes the events to a file in Chrome's trace event format, as a JSON array. Errors: kIo.
  [[nodiscard]] Status write(const std::filesystem::path& path) const;

  /// Memory that a trace may take in all. The caller counts all of it when it makes the trace.
  [[nodiscard]] static Bytes bytes();

 private:
  struct Event {
    // Points into names_.
    const std::string* name = nullptr;
    std::uint32_t lane = 0;
    // Number of elements of experts_ that belong to the event, from first_expert on.
    std::uint32_t experts = 0;
    std::uint32_t first_expert = 0;
    std::int64_t begin_ns = 0;
    std::int64_t end_ns = 0;
    std::uint64_t bytes = 0;
  };
  [[nodiscard]] std::int64_t since_start(Clock::time_point at) const;

  const Clock::time_point start_ = Clock::now();
  mutable std::mutex mutex_;
  // A set: its elements keep their addresses.
  std::set<std::string, std::less<>> names_;
  std::vector<Event> events_;
  std::vector<std::uint32_t> experts_;
  std::size_t dropped_ = 0;
};

}  // namespace brimful::tier
