#pragma once

#include <filesystem>

namespace brimful {

// Where this user's programs keep their files, by the XDG Base Directory Specification. Neither function
// makes the folder. Threading: any thread.

/// What can be measured or fetched again: `$XDG_CACHE_HOME/brimful`, or `~/.cache/brimful`.
[[nodiscard]] std::filesystem::path cache_folder();

/// What must survive a restart: `$XDG_STATE_HOME/brimful`, or `~/.local/state/brimful`.
[[nodiscard]] std::filesystem::path state_folder();

}  // namespace brimful
