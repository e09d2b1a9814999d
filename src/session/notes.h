#pragma once

#include <functional>
#include <string>
#include <vector>

namespace brimful::session {

/// Receives a note for people: one line without a newline at the end. A note says what was decided, or what a
/// person has to know. The function that takes a Notes calls it on its own thread, while it runs. A Notes is
/// never unset.
using Notes = std::function<void(const std::string& note)>;

/// Receives notes by appending them to `out`, which outlives the result.
[[nodiscard]] inline Notes notes_into(std::vector<std::string>& out) {
  return [&out](const std::string& note) { out.push_back(note); };
}

}  // namespace brimful::session
