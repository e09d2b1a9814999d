#include "hub/file_lock.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/file.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <system_error>

namespace brimful::hub {
namespace {

std::unexpected<Error> failed(const std::filesystem::path& file, const std::string& why) {
  return fail(ErrorCode::kIo,
              fmt::format("{}: cannot be written: {}; HF_HUB_CACHE names another cache", file.string(), why));
}

}  // namespace

Result<FileLock> FileLock::open(const std::filesystem::path& file) {
  std::error_code error;
  std::filesystem::create_directories(file.parent_path(), error);
  if (error) return failed(file, error.message());
  // As huggingface_hub opens it, so that users who share a cache can lock the same file.
  const int opened = ::open(file.c_str(), O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0664);
  if (opened < 0) return failed(file, std::strerror(errno));
  return FileLock(opened);
}

Result<FileLock> FileLock::take(const std::filesystem::path& file, const std::function<void()>& waits) {
  BRIMFUL_TRY(FileLock lock, open(file));
  if (::flock(lock.file_, LOCK_EX | LOCK_NB) == 0) return lock;
  if (errno == EWOULDBLOCK && waits) waits();
  while (::flock(lock.file_, LOCK_EX) != 0) {
    if (errno != EINTR) return failed(file, std::strerror(errno));
  }
  return lock;
}

Result<FileLock> FileLock::try_to_take(const std::filesystem::path& file) {
  BRIMFUL_TRY(FileLock lock, open(file));
  if (::flock(lock.file_, LOCK_EX | LOCK_NB) == 0) return lock;
  return fail(ErrorCode::kIo,
              fmt::format("{}: another process fetches this file: stop it first", file.string()));
}

FileLock::~FileLock() {
  if (file_ >= 0) ::close(file_);
}

}  // namespace brimful::hub
