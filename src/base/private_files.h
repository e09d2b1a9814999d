#pragma once

#include <filesystem>

#include "base/result.h"

namespace brimful {

/// Makes `folder` one that only this user can enter (0700), with the folders above it that are missing.
/// A folder that is there already is taken over where it belongs to this user and nobody else can write into
/// it. Errors: kUnsupported for one that does not, and for a symbolic link; kIo.
[[nodiscard]] Status make_private_folder(const std::filesystem::path& folder);

/// Makes `file` one that only this user can read and write (0600): an empty one where there is none.
/// Errors: kUnsupported for a file of somebody else, and for what is no plain file; kIo.
[[nodiscard]] Status make_private_file(const std::filesystem::path& file);

}  // namespace brimful
