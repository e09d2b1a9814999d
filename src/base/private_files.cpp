#include "base/private_files.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

namespace brimful {
namespace {

namespace fs = std::filesystem;

constexpr mode_t kFolder = 0700;
constexpr mode_t kFile = 0600;
constexpr mode_t kOthersWrite = 022;

std::unexpected<Error> failed(const fs::path& path, int why) {
  return fail(ErrorCode::kIo, fmt::format("{}: {}", path.string(), std::strerror(why)));
}

std::unexpected<Error> refuse(const fs::path& path, const char* why) {
  return fail(ErrorCode::kUnsupported,
              fmt::format("{}: {}; name another one, or remove it", path.string(), why));
}

/// Checks that the descriptor `opened` is a file of `type` that belongs to this user, and sets its mode.
/// Closes the descriptor in every case.
Status make_private(const fs::path& path, int opened, mode_t type, mode_t mode) {
  struct stat facts {};
  const bool known = ::fstat(opened, &facts) == 0;
  Status out;
  if (!known) {
    out = failed(path, errno);
  } else if ((facts.st_mode & S_IFMT) != type) {
    out = refuse(path, type == S_IFDIR ? "it is not a folder" : "it is not a regular file");
  } else if (facts.st_uid != ::geteuid()) {
    out = refuse(path, "it belongs to another user");
  } else if (type == S_IFDIR && (facts.st_mode & kOthersWrite) != 0) {
    out = refuse(path, "other users can write into it");
  } else if ((facts.st_mode & 07777) != mode && ::fchmod(opened, mode) != 0) {
    out = failed(path, errno);
  }
  ::close(opened);
  return out;
}

}  // namespace

Status make_private_folder(const fs::path& folder) {
  const fs::path parent = folder.has_filename() ? folder.parent_path() : folder.parent_path().parent_path();
  struct stat facts {};
  if (!parent.empty() && ::stat(parent.c_str(), &facts) != 0) BRIMFUL_TRY_VOID(make_private_folder(parent));
  const std::string name = (folder.has_filename() ? folder : folder.parent_path())
                               .string();  // The name without a slash at its end.
  const bool made = ::mkdir(name.c_str(), kFolder) == 0;
  if (!made && errno != EEXIST) return failed(folder, errno);
  const int opened = ::open(name.c_str(), O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
  if (opened >= 0) return make_private(folder, opened, S_IFDIR, kFolder);
  if (errno == ELOOP || errno == ENOTDIR) return refuse(folder, "it is a symbolic link or not a folder");
  return failed(folder, errno);
}

Status make_private_file(const fs::path& file) {
  const int opened = ::open(file.c_str(), O_RDWR | O_CREAT | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC, kFile);
  if (opened >= 0) return make_private(file, opened, S_IFREG, kFile);
  if (errno == ELOOP) return refuse(file, "it is a symbolic link");
  return failed(file, errno);
}

}  // namespace brimful
