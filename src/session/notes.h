#pragma once

#include <functional>
#include <string>

namespace brimful::session {

/// Takes a line for people, or some that belong together, without an end of line: what was decided, or what a
/// person has to know. Called on the thread of the function that was given it, while that function runs.
/// Never unset.
using Notes = std::function<void(const std::string& lines)>;

}  // namespace brimful::session
