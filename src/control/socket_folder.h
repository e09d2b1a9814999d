#pragma once

#include <sys/types.h>

#include <filesystem>
#include <vector>

#include "base/result.h"

namespace brimful::control {

/// Returns the folder with the sockets of this user's running models: `$XDG_RUNTIME_DIR/brimful`, else
/// `/tmp/brimful-UID`. A missing folder is created, so that only this user can enter it.
/// Errors: kIo when it cannot be created; kUnsupported for a folder that belongs to somebody else or is open
/// to others.
[[nodiscard]] Result<std::filesystem::path> socket_folder();

/// The path of the socket of process `pid`: `PID.sock` in the folder.
[[nodiscard]] std::filesystem::path socket_path(const std::filesystem::path& folder, pid_t pid);

/// The processes that have a socket in the folder, ascending. Some of them may have ended without removing
/// it.
[[nodiscard]] std::vector<pid_t> sockets_in(const std::filesystem::path& folder);

}  // namespace brimful::control
