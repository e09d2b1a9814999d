#pragma once

#include <filesystem>

namespace brimful {

// These functions return this project's folders for the current user, as the XDG Base Directory
// Specification says. They do not create the folders. A folder that still has this project's former name is
// renamed; when the rename fails, the functions return the path with the former name.
// Threading: several threads and processes may call them at the same time.

/// The folder for data that can be measured or fetched again: `$XDG_CACHE_HOME/brimful`, or
/// `~/.cache/brimful` when the variable is unset or empty.
[[nodiscard]] std::filesystem::path cache_folder();

/// The folder for data that must survive a restart: `$XDG_STATE_HOME/brimful`, or `~/.local/state/brimful`
/// when the variable is unset or empty.
[[nodiscard]] std::filesystem::path state_folder();

}  // namespace brimful
