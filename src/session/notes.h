#pragma once

#include <functional>
#include <string>
#include <string_view>
#include <vector>

namespace brimful::session {

/// Receives a note for people: one line, or several lines that belong together, without a newline at the end.
/// A note says what was decided, or what a person has to know. The function that takes a Notes calls it on
/// its own thread, while it runs. A Notes is never unset.
using Notes = std::function<void(const std::string& lines)>;

/// Receives notes as the public interface gives them: appended to `out`, without the `note: ` that stands
/// before them on a terminal. `out` outlives it.
[[nodiscard]] inline Notes notes_into(std::vector<std::string>& out) {
  return [&out](const std::string& lines) {
    constexpr std::string_view kMark = "note: ";
    out.push_back(lines.starts_with(kMark) ? lines.substr(kMark.size()) : lines);
  };
}

}  // namespace brimful::session
