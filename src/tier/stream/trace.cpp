#include "tier/stream/trace.h"

#include <fmt/format.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <fstream>
#include <nlohmann/json.hpp>

namespace brimful::tier {
namespace {

// The lane of events that are values of a counter, and have no line of their own.
constexpr std::uint32_t kRing = UINT32_MAX;
// Bytes of a tensor's name in names_: at most 64 for the name, and the rest for the node of the set.
constexpr std::size_t kNameBytes = 128;

double microseconds(std::int64_t ns) { return static_cast<double>(ns) / 1000; }

std::string lane_name(std::uint32_t lane) {
  switch (lane) {
    case Trace::kPasses: return "passes";
    case Trace::kSegments: return "compute: segments";
    case Trace::kWaits: return "compute: waits for the disk";
    case Trace::kExperts: return "experts";
    default: return fmt::format("disk read {}", lane - Trace::kReads);
  }
}

}  // namespace

Trace::Trace() {
  events_.reserve(kMostEvents);
  experts_.reserve(kMostExperts);
}

Bytes Trace::bytes() {
  return Bytes{kMostEvents * sizeof(Event) + kMostExperts * sizeof(std::uint32_t) + kMostNames * kNameBytes};
}

std::int64_t Trace::since_start(Clock::time_point at) const {
  return std::chrono::duration_cast<std::chrono::nanoseconds>(at - start_).count();
}

void Trace::span(std::uint32_t lane, std::string_view name, Clock::time_point begin, std::uint64_t bytes,
                 std::span<const std::uint32_t> experts) {
  const std::int64_t end = since_start(Clock::now());
  const std::lock_guard lock(mutex_);
  auto kept = names_.find(name);
  const bool names_are_full = kept == names_.end() && names_.size() == kMostNames;
  if (names_are_full || events_.size() == kMostEvents || experts_.size() + experts.size() > kMostExperts) {
    ++dropped_;
    return;
  }
  if (kept == names_.end()) kept = names_.emplace(name).first;
  const auto first = static_cast<std::uint32_t>(experts_.size());
  experts_.insert(experts_.end(), experts.begin(), experts.end());
  events_.push_back(
      {&*kept, lane, static_cast<std::uint32_t>(experts.size()), first, since_start(begin), end, bytes});
}

void Trace::ring(std::uint64_t bytes) { span(kRing, "ring", Clock::now(), bytes); }

Status Trace::write(const std::filesystem::path& path) const {
  const std::lock_guard lock(mutex_);
  std::ofstream out(path);
  std::uint32_t lanes = kReads;
  for (const Event& event : events_) {
    if (event.lane != kRing) lanes = std::max(lanes, event.lane + 1);
  }
  out << "[\n";
  for (std::uint32_t lane = 0; lane < lanes; ++lane) {
    out << nlohmann::ordered_json{{"ph", "M"},
                                  {"name", "thread_name"},
                                  {"pid", 1},
                                  {"tid", lane},
                                  {"args", {{"name", lane_name(lane)}}}}
        << ",\n";
  }
  for (const Event& event : events_) {
    nlohmann::ordered_json json{{"name", *event.name}, {"pid", 1}, {"ts", microseconds(event.begin_ns)}};
    if (event.lane == kRing) {
      json["ph"] = "C";
      json["args"] = {{"bytes", event.bytes}};
    } else {
      json["ph"] = "X";
      json["tid"] = event.lane;
      json["dur"] = microseconds(event.end_ns - event.begin_ns);
      if (event.bytes > 0) json["args"]["bytes"] = event.bytes;
      const auto experts = std::span(experts_).subspan(event.first_expert, event.experts);
      if (!experts.empty()) json["args"]["experts"] = std::vector(experts.begin(), experts.end());
    }
    out << json << ",\n";
  }
  out << nlohmann::ordered_json{{"ph", "M"},
                                {"name", "process_name"},
                                {"pid", 1},
                                {"args", {{"name", "brimful"}, {"events_dropped", dropped_}}}}
      << "\n]\n";
  out.close();
  if (out) return {};
  return fail(ErrorCode::kIo,
              fmt::format("{}: cannot write the trace: {}", path.string(), std::strerror(errno)));
}

}  // namespace brimful::tier
