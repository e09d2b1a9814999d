#include "synth/output.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <optional>
#include <system_error>
#include <utility>

#include "base/check.h"

namespace brimful::synth {
namespace {

constexpr std::size_t kBufferBytes = 4 * 1024 * 1024;
constexpr std::size_t kHugePage = 2 * 1024 * 1024;
constexpr std::size_t kDirectBlock = 4096;
constexpr int kFlags = O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW;
constexpr mode_t kMode = 0644;

std::string error_text(int error) { return std::generic_category().message(error); }

/// Returns how many bytes an ordinary user may still write to the disk of `path`. Nullopt when that is not
/// known.
std::optional<Bytes> free_bytes(const std::filesystem::path& path) {
  std::error_code ec;
  const auto space = std::filesystem::space(path.parent_path().empty() ? "." : path.parent_path(), ec);
  if (ec) return std::nullopt;
  return Bytes{space.available};
}

Status check_space(const std::filesystem::path& path, Bytes size) {
  const std::optional<Bytes> free = free_bytes(path);
  if (!free || size <= *free) return {};
  return fail(ErrorCode::kIo, fmt::format("the disk is too full: {} needs {}, {} are free", path.string(),
                                          format_bytes(size), format_bytes(*free)));
}

}  // namespace

Result<OutputFile> OutputFile::create(const std::filesystem::path& path, Bytes size, bool replace) {
  std::error_code ec;
  const auto status = std::filesystem::status(path, ec);
  const bool exists = std::filesystem::exists(status);
  if (std::filesystem::is_directory(status)) {
    return fail(ErrorCode::kInvalidArgument, fmt::format("{} is a directory; name a file", path.string()));
  }
  if (std::filesystem::is_block_file(status)) {
    return fail(ErrorCode::kInvalidArgument, fmt::format("{} is a disk; name a file", path.string()));
  }
  // A device or a pipe is not ours, so it is never replaced by a rename.
  if (exists && !std::filesystem::is_regular_file(status)) {
    const int fd = open(path.c_str(), O_WRONLY | O_CLOEXEC);
    if (fd < 0)
      return fail(ErrorCode::kIo, fmt::format("cannot write {}: {}", path.string(), error_text(errno)));
    return OutputFile(path, {}, fd, false, size);
  }
  if (exists && !replace) {
    return fail(ErrorCode::kInvalidArgument,
                fmt::format("{} exists; add --force to replace it", path.string()));
  }

  BRIMFUL_TRY_VOID(check_space(path, size));
  std::filesystem::path part = path;
  part += ".part";
  bool direct = true;
  int fd = open(part.c_str(), kFlags | O_DIRECT, kMode);
  if (fd < 0 && errno == EINVAL) {  // tmpfs and some network file systems have no direct writes.
    direct = false;
    fd = open(part.c_str(), kFlags, kMode);
  }
  if (fd < 0)
    return fail(ErrorCode::kIo, fmt::format("cannot create {}: {}", part.string(), error_text(errno)));
  OutputFile file(path, std::move(part), fd, direct, size);
  // This reports a quota that is too small before gigabytes are written. Not every file system can reserve
  // bytes.
  if (size.value > 0 && fallocate(fd, 0, 0, static_cast<off_t>(size.value)) != 0 && errno != EOPNOTSUPP) {
    return file.write_error(errno);
  }
  return file;
}

OutputFile::OutputFile(std::filesystem::path path, std::filesystem::path part, int fd, bool direct,
                       Bytes size)
    : path_(std::move(path)), part_(std::move(part)), fd_(fd), direct_(direct), size_(size) {
  buffer_.reset(static_cast<std::byte*>(std::aligned_alloc(kHugePage, kBufferBytes)));
  BRIMFUL_CHECK(buffer_ != nullptr);
  madvise(buffer_.get(), kBufferBytes, MADV_HUGEPAGE);  // Direct writes from small pages are slower.
}

OutputFile::OutputFile(OutputFile&& other) noexcept
    : path_(std::move(other.path_)),
      part_(std::exchange(other.part_, {})),
      fd_(std::exchange(other.fd_, -1)),
      direct_(other.direct_),
      size_(other.size_),
      written_(other.written_),
      filled_(other.filled_),
      buffer_(std::move(other.buffer_)) {}

OutputFile::~OutputFile() {
  if (fd_ >= 0) close(fd_);
  if (!part_.empty()) unlink(part_.c_str());
}

std::unexpected<Error> OutputFile::write_error(int error) const {
  if (error == ENOSPC || error == EDQUOT) {
    return fail(ErrorCode::kIo,
                fmt::format("the disk is full: {} needs {}", path_.string(), format_bytes(size_)));
  }
  return fail(ErrorCode::kIo, fmt::format("cannot write {}: {}", path_.string(), error_text(error)));
}

std::span<std::byte> OutputFile::space() { return {buffer_.get() + filled_, kBufferBytes - filled_}; }

Status OutputFile::commit(std::size_t n) {
  BRIMFUL_CHECK(n <= kBufferBytes - filled_);
  filled_ += n;
  return filled_ == kBufferBytes ? flush() : Status{};
}

Status OutputFile::append(std::span<const std::byte> bytes) {
  while (!bytes.empty()) {
    const std::span<std::byte> to = space();
    const std::size_t n = std::min(to.size(), bytes.size());
    std::memcpy(to.data(), bytes.data(), n);
    bytes = bytes.subspan(n);
    BRIMFUL_TRY_VOID(commit(n));
  }
  return {};
}

Status OutputFile::append_zeros(std::uint64_t n) {
  while (n > 0) {
    const std::span<std::byte> to = space();
    const auto now = static_cast<std::size_t>(std::min<std::uint64_t>(to.size(), n));
    std::memset(to.data(), 0, now);
    n -= now;
    BRIMFUL_TRY_VOID(commit(now));
  }
  return {};
}

Status OutputFile::flush() {
  // This can only be the end of the file. Direct writes must be whole blocks.
  if (direct_ && filled_ % kDirectBlock != 0) {
    const int flags = fcntl(fd_, F_GETFL);
    if (flags < 0 || fcntl(fd_, F_SETFL, flags & ~O_DIRECT) != 0) return write_error(errno);
    direct_ = false;
  }
  std::size_t done = 0;
  while (done < filled_) {
    const ssize_t n = write(fd_, buffer_.get() + done, filled_ - done);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return write_error(errno);
    done += static_cast<std::size_t>(n);
  }
  if (!direct_ && !part_.empty()) {
    const auto offset = static_cast<off_t>(written_);
    const auto length = static_cast<off_t>(filled_);
    sync_file_range(fd_, offset, length,
                    SYNC_FILE_RANGE_WAIT_BEFORE | SYNC_FILE_RANGE_WRITE | SYNC_FILE_RANGE_WAIT_AFTER);
    posix_fadvise(fd_, offset, length, POSIX_FADV_DONTNEED);
  }
  written_ += filled_;
  filled_ = 0;
  return {};
}

Status OutputFile::finish() {
  BRIMFUL_TRY_VOID(flush());
  if (!part_.empty() && fdatasync(fd_) != 0) return write_error(errno);
  if (close(std::exchange(fd_, -1)) != 0) return write_error(errno);
  buffer_.reset();
  return {};
}

Status OutputFile::publish() {
  BRIMFUL_CHECK(fd_ < 0);
  if (part_.empty()) return {};
  if (rename(part_.c_str(), path_.c_str()) != 0) return write_error(errno);
  part_.clear();
  return {};
}

}  // namespace brimful::synth
