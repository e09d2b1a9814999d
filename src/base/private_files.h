#pragma once

#include <filesystem>

#include "base/result.h"

namespace brimful {

/// Creates `folder` with mode 0700, so that only this user can enter it. Missing parent folders are created
/// with the same mode. A folder that exists already is accepted, and gets mode 0700, when it belongs to this
/// user and nobody else can write into it.
/// Errors: kUnsupported when the path is a symbolic link, not a folder, the folder of another user, or a
/// folder that others can write into; kIo. Parent folders that were created stay.
[[nodiscard]] Status make_private_folder(const std::filesystem::path& folder);

/// Gives `file` mode 0600, so that only this user can read and write it. A missing file is created empty;
/// the content of an existing one stays.
/// Errors: kUnsupported for a file of another user, for a symbolic link, and for anything that is not a
/// regular file; kIo.
[[nodiscard]] Status make_private_file(const std::filesystem::path& file);

}  // namespace brimful
