#pragma once

#include <functional>
#include <string>

namespace brimful::session {

/// Receives a note for people: one line, or several lines that belong together, without a newline at the end.
/// A note says what was decided, or what a person has to know. The function that takes a Notes calls it on
/// its own thread, while it runs. A Notes is never unset.
using Notes = std::function<void(const std::string& lines)>;

}  // namespace brimful::session
