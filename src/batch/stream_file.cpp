#include "batch/stream_file.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <poll.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstring>
#include <span>
#include <utility>

namespace brimful::batch {
namespace {

constexpr std::size_t kBlock = 64 * 1024;
constexpr int kPatienceMs = 200;  // time until `stopped` is asked again

Error failed(const std::string& name, int why) {
  const bool full = why == ENOSPC || why == EDQUOT;
  return Error{full ? ErrorCode::kNoSpace : ErrorCode::kIo,
               fmt::format("{}: {}", name, full ? "the disk is full" : std::strerror(why))};
}

/// Writes all of `bytes`. Removes the written part from `bytes`, also when it fails.
Status write_all(int file, std::string_view& bytes, const std::string& name) {
  while (!bytes.empty()) {
    const ::ssize_t written = ::write(file, bytes.data(), bytes.size());
    if (written < 0 && errno == EINTR) continue;
    if (written < 0) return std::unexpected(failed(name, errno));
    bytes.remove_prefix(static_cast<std::size_t>(written));
  }
  return {};
}

class Descriptor {
 public:
  explicit Descriptor(int file) : file_(file) {}
  ~Descriptor() {
    if (file_ >= 0) ::close(file_);
  }
  Descriptor(const Descriptor&) = delete;
  Descriptor& operator=(const Descriptor&) = delete;
  [[nodiscard]] int get() const { return file_; }

 private:
  int file_;
};

/// The next bytes of the stream; empty at its end.
Result<std::string_view> read_some(int file, const std::string& name, std::span<char> block,
                                   const std::function<bool()>& stopped) {
  for (;;) {
    if (stopped()) return fail(ErrorCode::kCancelled, "stopped before the requests were read");
    pollfd ready{file, POLLIN, 0};
    const int events = ::poll(&ready, 1, kPatienceMs);
    if (events == 0 || (events < 0 && errno == EINTR)) continue;
    const ::ssize_t got = ::read(file, block.data(), block.size());
    if (got >= 0) return std::string_view(block.data(), static_cast<std::size_t>(got));
    if (errno != EINTR && errno != EAGAIN) return std::unexpected(failed(name, errno));
  }
}

}  // namespace

bool is_stream(const std::filesystem::path& path) {
  struct stat info {};
  if (path == kStandard) return true;
  return ::stat(path.c_str(), &info) == 0 && !S_ISREG(info.st_mode) && !S_ISDIR(info.st_mode) &&
         !S_ISBLK(info.st_mode);
}

std::string input_name(const std::filesystem::path& path) {
  return path == kStandard ? "standard input" : path.string();
}

std::string output_name(const std::filesystem::path& path) {
  return path == kStandard ? "standard output" : path.string();
}

Status keep_stream(const std::filesystem::path& stream, const std::filesystem::path& copy,
                   const std::function<bool()>& stopped,
                   const std::function<Status(const std::function<Status()>&)>& patiently) {
  const std::string name = input_name(stream);
  const Descriptor from(stream == kStandard ? ::dup(STDIN_FILENO)
                                            : ::open(stream.c_str(), O_RDONLY | O_CLOEXEC));
  if (from.get() < 0) return std::unexpected(failed(name, errno));
  const Descriptor to(::open(copy.c_str(), O_WRONLY | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600));
  if (to.get() < 0) return std::unexpected(failed(copy.string(), errno));
  // The lock ends with the descriptor. A second process must not truncate the copy that the first one is
  // writing.
  if (::flock(to.get(), LOCK_EX | LOCK_NB) != 0)
    return fail(ErrorCode::kInvalidArgument, fmt::format("{}: another process is using it", copy.string()));
  const auto copy_all = [&]() -> Status {
    if (::ftruncate(to.get(), 0) != 0) return std::unexpected(failed(copy.string(), errno));
    std::array<char, kBlock> block{};
    for (;;) {
      BRIMFUL_TRY(std::string_view bytes, read_some(from.get(), name, block, stopped));
      if (bytes.empty()) break;
      BRIMFUL_TRY_VOID(patiently([&] { return write_all(to.get(), bytes, copy.string()); }));
    }
    return patiently([&]() -> Status {
      return ::fsync(to.get()) == 0 ? Status{} : std::unexpected(failed(copy.string(), errno));
    });
  };
  const Status copied = copy_all();
  if (!copied) ::unlink(copy.c_str());
  return copied;
}

Status move_file(const std::filesystem::path& from, const std::filesystem::path& to) {
  if (::rename(from.c_str(), to.c_str()) == 0) return {};
  return std::unexpected(failed(to.string(), errno));
}

Result<StreamWriter> StreamWriter::open(const std::filesystem::path& path) {
  const int file = path == kStandard ? ::dup(STDOUT_FILENO) : ::open(path.c_str(), O_WRONLY | O_CLOEXEC);
  if (file < 0) return fail(ErrorCode::kIo, fmt::format("{}: {}", output_name(path), std::strerror(errno)));
  return StreamWriter(path, file);
}

StreamWriter::StreamWriter(StreamWriter&& other) noexcept
    : path_(std::move(other.path_)),
      file_(std::exchange(other.file_, -1)),
      buffer_(std::move(other.buffer_)) {}

StreamWriter::~StreamWriter() {
  if (file_ >= 0) ::close(file_);
}

Status StreamWriter::write_line(std::string_view line) {
  buffer_ += line;
  buffer_ += '\n';
  return buffer_.size() < kBlock ? Status{} : flush();
}

Status StreamWriter::flush() {
  std::string_view left = buffer_;
  const Status written = write_all(file_, left, output_name(path_));
  buffer_.clear();
  if (!written) return fail(ErrorCode::kIo, written.error().message);
  return {};
}

}  // namespace brimful::batch
