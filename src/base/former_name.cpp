#include "base/former_name.h"

namespace brimful {

namespace fs = std::filesystem;

bool take_over(const fs::path& former, const fs::path& now) {
  std::error_code error;
  if (fs::exists(fs::symlink_status(now, error))) return true;
  const fs::file_status old = fs::symlink_status(former, error);
  if (!fs::exists(old) || fs::is_symlink(old)) return true;
  fs::rename(former, now, error);
  // If the rename failed, another process may have renamed the file just before.
  return !error || fs::exists(fs::symlink_status(now, error));
}

}  // namespace brimful
