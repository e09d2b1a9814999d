#pragma once

#include <string_view>

namespace brimful::engine {

/// Why the generation of a text has ended. kLimit: the largest number of tokens is reached.
enum class StopReason { kEndOfText, kLimit, kContextFull, kStopString, kCancelled };

/// A text for people.
[[nodiscard]] constexpr std::string_view to_string(StopReason reason) {
  switch (reason) {
    case StopReason::kEndOfText: return "end of text";
    case StopReason::kLimit: return "limit";
    case StopReason::kContextFull: return "context full";
    case StopReason::kStopString: return "stop string";
    case StopReason::kCancelled: return "cancelled";
  }
  return "unknown";
}

}  // namespace brimful::engine
