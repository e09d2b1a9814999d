#include "model/header_file.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <utility>
#include <variant>

namespace brimful::model {
namespace {

constexpr std::uint64_t kFirstRead = 1024 * 1024;
constexpr std::uint64_t kPage = 4096;

std::unexpected<Error> file_error(ErrorCode code, const std::filesystem::path& path,
                                  std::string_view message) {
  return fail(code, fmt::format("{}: {}", path.string(), message));
}

class FileDescriptor {
 public:
  explicit FileDescriptor(int fd) : fd_(fd) {}
  FileDescriptor(FileDescriptor&& other) noexcept : fd_(std::exchange(other.fd_, -1)) {}
  FileDescriptor& operator=(FileDescriptor&&) = delete;
  ~FileDescriptor() {
    if (fd_ >= 0) ::close(fd_);
  }
  [[nodiscard]] int get() const { return fd_; }

 private:
  int fd_;
};

Result<FileDescriptor> open_for_reading(const std::filesystem::path& path) {
  // Without O_NONBLOCK, opening a FIFO would wait for a writer.
  FileDescriptor fd(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY));
  if (fd.get() >= 0) return fd;
  if (errno == ENOENT || errno == ENOTDIR) {
    return file_error(ErrorCode::kNotFound, path, "there is no such file: check the path");
  }
  if (errno == EACCES)
    return file_error(ErrorCode::kIo, path, "no permission to read it: check its access rights");
  return file_error(ErrorCode::kIo, path, fmt::format("cannot be opened: {}", std::strerror(errno)));
}

ModelFile identity(const std::filesystem::path& path, const struct stat& info) {
  return {.path = path,
          .size = Bytes{static_cast<std::uint64_t>(info.st_size)},
          .device = static_cast<std::uint64_t>(info.st_dev),
          .inode = static_cast<std::uint64_t>(info.st_ino),
          .modified_ns = std::int64_t{info.st_mtim.tv_sec} * 1'000'000'000 + info.st_mtim.tv_nsec};
}

Result<ModelFile> identify(const std::filesystem::path& path, int fd) {
  struct stat info {};
  if (::fstat(fd, &info) != 0) {
    return file_error(ErrorCode::kIo, path, fmt::format("cannot be examined: {}", std::strerror(errno)));
  }
  if (S_ISDIR(info.st_mode)) {
    return file_error(ErrorCode::kInvalidArgument, path, "is a directory: give the .gguf file in it");
  }
  if (!S_ISREG(info.st_mode)) {
    return file_error(
        ErrorCode::kInvalidArgument, path,
        "is not a regular file, and weights are read from any place in it: save it to disk first");
  }
  return identity(path, info);
}

/// Extends `bytes` to `size` bytes from the start of the file.
Status read_up_to(const ModelFile& file, int fd, std::uint64_t size, std::vector<std::byte>& bytes) {
  std::uint64_t position = bytes.size();
  bytes.resize(static_cast<std::size_t>(size));
  while (position < size) {
    const ssize_t got = ::pread(fd, bytes.data() + position, size - position, static_cast<off_t>(position));
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) {
      return file_error(ErrorCode::kIo, file.path,
                        fmt::format("reading at byte {} failed: {}", position, std::strerror(errno)));
    }
    if (got == 0) {
      return file_error(
          ErrorCode::kIo, file.path,
          fmt::format("became shorter than {} bytes while it was read: is it still being written?",
                      file.size.value));
    }
    position += static_cast<std::uint64_t>(got);
  }
  return {};
}

Status parse_growing(int fd, Weights weights, HeaderFile& out) {
  const std::uint64_t file_size = out.file.size.value;
  std::uint64_t size = std::min(kFirstRead, file_size);
  for (;;) {
    BRIMFUL_TRY_VOID(read_up_to(out.file, fd, size, out.bytes));
    auto parsed = parse_gguf(out.bytes, file_size, weights);
    if (!parsed) return file_error(parsed.error().code, out.file.path, parsed.error().message);
    if (auto* header = std::get_if<GgufHeader>(&*parsed)) {
      out.header = std::move(*header);
      return {};
    }
    size = std::min(std::max(std::get<NeedMore>(*parsed).bytes, 2 * size), file_size);
  }
}

}  // namespace

Result<HeaderFile> read_header(const std::filesystem::path& path, Weights weights) {
  BRIMFUL_TRY(const FileDescriptor fd, open_for_reading(path));
  HeaderFile result;
  BRIMFUL_TRY(result.file, identify(path, fd.get()));
  // Pages in the page cache count to the memory budget. So there is no read-ahead, and the pages are dropped
  // afterwards.
  ::posix_fadvise(fd.get(), 0, 0, POSIX_FADV_RANDOM);
  const Status parsed = parse_growing(fd.get(), weights, result);
  ::posix_fadvise(fd.get(), 0, static_cast<off_t>(align_up(result.bytes.size(), kPage)), POSIX_FADV_DONTNEED);
  if (!parsed) return std::unexpected(parsed.error());
  result.bytes.resize(static_cast<std::size_t>(result.header.size));
  result.bytes.shrink_to_fit();
  return result;
}

Status check_same_file(const ModelFile& then, const ModelFile& now) {
  if (then.size == now.size && then.device == now.device && then.inode == now.inode &&
      then.modified_ns == now.modified_ns) {
    return {};
  }
  return file_error(ErrorCode::kIo, then.path,
                    "the model was replaced or written to since it was opened: start again");
}

}  // namespace brimful::model
