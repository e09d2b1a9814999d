#include "hub/part_file.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <vector>

#include "base/bytes.h"

namespace brimful::hub {
namespace {

constexpr std::size_t kStep = 1 << 20;

std::unexpected<Error> failed(const std::filesystem::path& path, int why) {
  if (why == ENOSPC || why == EDQUOT) {
    return fail(ErrorCode::kNoSpace, fmt::format("{}: the disk is full: free some space, and ask again; what "
                                                 "was fetched stays",
                                                 path.parent_path().string()));
  }
  return fail(ErrorCode::kIo,
              fmt::format("{}: {}; HF_HUB_CACHE names another cache", path.string(), std::strerror(why)));
}

/// Refuses a file that is larger than the free space. `there` is what it already takes.
Status check_space(const std::filesystem::path& path, std::uint64_t size, std::uint64_t there) {
  struct statvfs disk {};
  if (::statvfs(path.parent_path().c_str(), &disk) != 0) return {};  // Then the reservation decides.
  const std::uint64_t free = std::uint64_t{disk.f_bavail} * disk.f_frsize;
  const std::uint64_t needed = size > there ? size - there : 0;
  if (needed <= free) return {};
  return fail(
      ErrorCode::kNoSpace,
      fmt::format("{}: {} are needed and {} are free, {} too few: free some space, or name a cache on "
                  "another disk with HF_HUB_CACHE",
                  path.parent_path().string(), format_bytes(Bytes{needed}), format_bytes(Bytes{free}),
                  format_bytes(Bytes{needed - free})));
}

}  // namespace

Result<PartFile> PartFile::open(const std::filesystem::path& path, std::uint64_t size) {
  const int opened = ::open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0644);
  if (opened < 0) return failed(path, errno);
  PartFile file(path, opened);
  struct stat facts {};
  if (::fstat(opened, &facts) != 0) return failed(path, errno);
  BRIMFUL_TRY_VOID(check_space(path, size, static_cast<std::uint64_t>(facts.st_blocks) * 512));
  if (::ftruncate(opened, static_cast<off_t>(size)) != 0) return failed(path, errno);
  if (size > 0 && ::fallocate(opened, 0, 0, static_cast<off_t>(size)) != 0 && errno != EOPNOTSUPP &&
      errno != ENOSYS && errno != EINTR)
    return failed(path, errno);
  return file;
}

Result<PartFile> PartFile::open_to_read(const std::filesystem::path& path) {
  const int opened = ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (opened >= 0) return PartFile(path, opened);
  return fail(ErrorCode::kNotFound, fmt::format("{}: {}", path.string(), std::strerror(errno)));
}

PartFile::~PartFile() {
  if (file_ >= 0) ::close(file_);
}

Status PartFile::write(std::uint64_t at, std::span<const std::byte> bytes) const {
  while (!bytes.empty()) {
    const ssize_t written = ::pwrite(file_, bytes.data(), bytes.size(), static_cast<off_t>(at));
    if (written < 0 && errno == EINTR) continue;
    if (written < 0) return failed(path_, errno);
    at += static_cast<std::uint64_t>(written);
    bytes = bytes.subspan(static_cast<std::size_t>(written));
  }
  return {};
}

Status PartFile::hash(std::uint64_t at, std::uint64_t size, Hasher& hasher,
                      const std::function<void(std::uint64_t)>& progress) const {
  std::vector<std::byte> buffer(std::min<std::uint64_t>(kStep, size));
  while (size > 0) {
    const std::size_t step = std::min<std::uint64_t>(buffer.size(), size);
    const ssize_t read = ::pread(file_, buffer.data(), step, static_cast<off_t>(at));
    if (read < 0 && errno == EINTR) continue;
    if (read < 0) return failed(path_, errno);
    if (read == 0) return fail(ErrorCode::kIo, fmt::format("{}: has become shorter", path_.string()));
    const auto count = static_cast<std::size_t>(read);
    hasher.add(std::span(buffer).first(count));
    at += count;
    size -= count;
    if (progress) progress(count);
  }
  return {};
}

Status PartFile::sync() const {
  if (::fsync(file_) == 0) return {};
  return failed(path_, errno);
}

Result<std::uint64_t> PartFile::size() const {
  struct stat facts {};
  if (::fstat(file_, &facts) != 0) return failed(path_, errno);
  return static_cast<std::uint64_t>(facts.st_size);
}

}  // namespace brimful::hub
