#pragma once

#include <filesystem>

namespace brimful {

// Where this user's programs keep their files, by the XDG Base Directory Specification. Neither function
// makes the folder. One that has this project's former name is renamed; where that fails, it goes on being
// used. Threading: any thread, any process.

/// What can be measured or fetched again: `$XDG_CACHE_HOME/brimful`, or `~/.cache/brimful`.
[[nodiscard]] std::filesystem::path cache_folder();

/// What must survive a restart: `$XDG_STATE_HOME/brimful`, or `~/.local/state/brimful`.
[[nodiscard]] std::filesystem::path state_folder();

}  // namespace brimful
