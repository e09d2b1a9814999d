#pragma once

#include <sys/types.h>

#include <filesystem>
#include <vector>

#include "base/result.h"

namespace brimful::control {

/// Where the sockets of this user's running models lie: `$XDG_RUNTIME_DIR/brimful`, else `/tmp/brimful-UID`.
/// Made where it is missing; nobody else may enter.
/// Errors: kIo where it cannot be made; kUnsupported for one that is somebody else's, or open to others.
[[nodiscard]] Result<std::filesystem::path> socket_folder();

[[nodiscard]] std::filesystem::path socket_path(const std::filesystem::path& folder, pid_t pid);

/// The processes that have a socket there, ascending: some may have ended without removing theirs.
[[nodiscard]] std::vector<pid_t> sockets_in(const std::filesystem::path& folder);

}  // namespace brimful::control
