#include "quantise/part_file.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <system_error>
#include <utility>

#include "base/check.h"

namespace brimful::quantise {
namespace {

constexpr std::size_t kBlock = 4096;
constexpr int kFlags = O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW;
constexpr mode_t kMode = 0644;

std::string error_text(int error) { return std::generic_category().message(error); }

}  // namespace

std::filesystem::path PartFile::part_of(const std::filesystem::path& path) {
  return path.string() + ".brimful-part";
}

Result<PartFile> PartFile::open(const std::filesystem::path& path, std::uint64_t start, Bytes size) {
  const std::filesystem::path part = part_of(path);
  bool direct = true;
  int fd = ::open(part.c_str(), kFlags | O_DIRECT, kMode);
  if (fd < 0 && errno == EINVAL) {  // tmpfs and some network file systems have no direct writes
    direct = false;
    fd = ::open(part.c_str(), kFlags, kMode);
  }
  if (fd < 0)
    return fail(ErrorCode::kIo, fmt::format("{} cannot be written: {}", path.string(), error_text(errno)));
  PartFile file(path, fd, direct, size);
  if (::flock(fd, LOCK_EX | LOCK_NB) != 0)
    return fail(ErrorCode::kIo, fmt::format("{} is being written by another process", path.string()));
  struct stat now {};
  if (::fstat(fd, &now) != 0) return file.write_error(errno);
  const auto there = static_cast<std::uint64_t>(now.st_blocks) * 512;
  if (static_cast<std::uint64_t>(now.st_size) < start)
    return fail(ErrorCode::kInternal, fmt::format("{} is shorter than it was", part.string()));
  // Says that the disk is too full before hours of work; not every file system can reserve bytes.
  if (size.value > there && ::fallocate(fd, 0, 0, static_cast<off_t>(size.value)) != 0 &&
      errno != EOPNOTSUPP) {
    const int error = errno;
    if (start == 0) ::unlink(part.c_str());  // nothing is in it
    return file.write_error(error);
  }
  file.written_ = align_down(start, std::uint64_t{kBlock});
  file.filled_ = static_cast<std::size_t>(start - file.written_);
  if (file.filled_ > 0) {
    const ssize_t got = ::pread(fd, file.buffer_.get(), kBlock, static_cast<off_t>(file.written_));
    if (got < static_cast<ssize_t>(file.filled_)) return file.write_error(got < 0 ? errno : EIO);
  }
  return file;
}

PartFile::PartFile(std::filesystem::path path, int fd, bool direct, Bytes size)
    : path_(std::move(path)), fd_(fd), direct_(direct), size_(size) {
  buffer_.reset(static_cast<std::byte*>(std::aligned_alloc(kBlock, kBuffer)));
  BRIMFUL_CHECK(buffer_ != nullptr);
}

PartFile::PartFile(PartFile&& other) noexcept
    : path_(std::move(other.path_)),
      fd_(std::exchange(other.fd_, -1)),
      direct_(other.direct_),
      size_(other.size_),
      written_(other.written_),
      filled_(other.filled_),
      buffer_(std::move(other.buffer_)) {}

PartFile::~PartFile() {
  if (fd_ >= 0) ::close(fd_);
}

std::unexpected<Error> PartFile::write_error(int error) const {
  if (error == ENOSPC || error == EDQUOT)
    return fail(ErrorCode::kIo,
                fmt::format("the disk is full: {} needs {}{}", path_.string(), format_bytes(size_),
                            written_ > 0 ? "; the same command goes on with what is written" : ""));
  return fail(ErrorCode::kIo, fmt::format("{} cannot be written: {}", path_.string(), error_text(error)));
}

Status PartFile::append(std::span<const std::byte> bytes) {
  while (!bytes.empty()) {
    const std::size_t n = std::min(kBuffer - filled_, bytes.size());
    std::memcpy(buffer_.get() + filled_, bytes.data(), n);
    filled_ += n;
    bytes = bytes.subspan(n);
    if (filled_ == kBuffer) BRIMFUL_TRY_VOID(flush());
  }
  return {};
}

Status PartFile::append_zeros(std::uint64_t n) {
  static constexpr std::byte kZeros[64]{};
  while (n > 0) {
    const auto now = static_cast<std::size_t>(std::min<std::uint64_t>(sizeof kZeros, n));
    BRIMFUL_TRY_VOID(append({kZeros, now}));
    n -= now;
  }
  return {};
}

Status PartFile::flush() {
  if (direct_ && filled_ % kBlock != 0) {  // only at the end of the file
    const int flags = ::fcntl(fd_, F_GETFL);
    if (flags < 0 || ::fcntl(fd_, F_SETFL, flags & ~O_DIRECT) != 0) return write_error(errno);
    direct_ = false;
  }
  const std::uint64_t begin = written_;
  std::size_t done = 0;
  while (done < filled_) {
    const ssize_t n = ::pwrite(fd_, buffer_.get() + done, filled_ - done, static_cast<off_t>(begin + done));
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) return write_error(n < 0 ? errno : EIO);
    done += static_cast<std::size_t>(n);
  }
  if (!direct_) {
    const auto offset = static_cast<off_t>(begin);
    const auto length = static_cast<off_t>(filled_);
    ::sync_file_range(fd_, offset, length,
                      SYNC_FILE_RANGE_WAIT_BEFORE | SYNC_FILE_RANGE_WRITE | SYNC_FILE_RANGE_WAIT_AFTER);
    ::posix_fadvise(fd_, offset, length, POSIX_FADV_DONTNEED);
  }
  written_ += filled_;
  filled_ = 0;
  return {};
}

Status PartFile::sync() {
  if (::fdatasync(fd_) != 0) return write_error(errno);
  return {};
}

Status PartFile::finish() {
  BRIMFUL_TRY_VOID(flush());
  if (::ftruncate(fd_, static_cast<off_t>(written_)) != 0) return write_error(errno);
  return sync();
}

}  // namespace brimful::quantise
