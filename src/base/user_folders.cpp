#include "base/user_folders.h"

#include <cstdlib>
#include <system_error>

namespace strata {
namespace {

namespace fs = std::filesystem;

/// A folder of this project in what `variable` names, or in `otherwise` below the user's home folder.
fs::path folder_of(const char* variable, const fs::path& otherwise) {
  const char* const given = std::getenv(variable);
  const char* const home = std::getenv("HOME");
  const fs::path base = given != nullptr && *given != '\0'
                            ? fs::path(given)
                            : fs::path(home != nullptr ? home : ".") / otherwise;
  take_over(base / kOldName, base / "strata");
  return base / "strata";
}

}  // namespace

fs::path cache_folder() { return folder_of("XDG_CACHE_HOME", ".cache"); }

fs::path state_folder() { return folder_of("XDG_STATE_HOME", fs::path(".local") / "state"); }

void take_over(const fs::path& old_path, const fs::path& path) {
  std::error_code error;
  const auto old_type = fs::symlink_status(old_path, error).type();
  if (old_type != fs::file_type::directory && old_type != fs::file_type::regular) return;
  if (fs::symlink_status(path, error).type() != fs::file_type::not_found) return;
  fs::rename(old_path, path, error);  // another process may have done it at the same time
}

}  // namespace strata
