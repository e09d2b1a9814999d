#include "base/user_folders.h"

#include <cstdlib>

#include "base/former_name.h"

namespace brimful {
namespace {

namespace fs = std::filesystem;

/// Returns this project's folder below the path in the environment variable `variable`, or below `otherwise`
/// in the user's home folder when the variable is unset or empty.
fs::path folder_of(const char* variable, const fs::path& otherwise) {
  const char* const given = std::getenv(variable);
  const char* const home = std::getenv("HOME");
  const fs::path base = given != nullptr && *given != '\0'
                            ? fs::path(given)
                            : fs::path(home != nullptr ? home : ".") / otherwise;
  return take_over(base / kFormerName, base / "brimful") ? base / "brimful" : base / kFormerName;
}

}  // namespace

fs::path cache_folder() { return folder_of("XDG_CACHE_HOME", ".cache"); }

fs::path state_folder() { return folder_of("XDG_STATE_HOME", fs::path(".local") / "state"); }

}  // namespace brimful
