#include "batch/line_file.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

#include "batch/stream_file.h"

namespace brimful::batch {
namespace {

constexpr std::size_t kBuffer = 64 * 1024;

Error failed(const std::filesystem::path& path) {
  const int why = errno;
  const bool full = why == ENOSPC || why == EDQUOT;
  return Error{full ? ErrorCode::kNoSpace : ErrorCode::kIo,
               fmt::format("{}: {}", path.string(), full ? "the disk is full" : std::strerror(why))};
}

}  // namespace

Result<LineReader> LineReader::open(std::filesystem::path path, std::size_t longest) {
  errno = 0;
  std::ifstream in(path, std::ios::binary);
  if (in && !std::filesystem::is_directory(path)) return LineReader(std::move(path), std::move(in), longest);
  const bool missing = errno == ENOENT || errno == ENOTDIR || errno == 0;
  return fail(missing ? ErrorCode::kNotFound : ErrorCode::kIo,
              fmt::format("{}: cannot be read: {}", path.string(),
                          errno != 0 ? std::strerror(errno) : "it is a folder"));
}

/// Reads a line into text_. Returns false at the end of the file, and when the file cannot be read: in_ is
/// bad then.
bool LineReader::read_line() try {
  constexpr int kEnd = std::char_traits<char>::eof();
  text_.clear();
  size_ = 0;
  std::streambuf& bytes = *in_.rdbuf();
  int byte = bytes.sbumpc();
  if (byte == kEnd) return false;
  for (; byte != kEnd && byte != '\n'; byte = bytes.sbumpc()) {
    hash_ = (hash_ ^ static_cast<unsigned char>(byte)) * 1099511628211ULL;
    if (++size_ <= longest_) text_ += static_cast<char>(byte);
  }
  hash_ = (hash_ ^ '\n') * 1099511628211ULL;
  return true;
} catch (const std::ios_base::failure&) {  // a stream's buffer that is read directly throws
  in_.setstate(std::ios_base::badbit);
  return false;
}

Result<std::optional<LineReader::Line>> LineReader::next() {
  while (read_line()) {
    const bool too_long = size_ > longest_;
    const Line line{++number_, offset_, too_long ? std::string_view() : text_, too_long};
    offset_ += size_ + 1;
    if (too_long || text_.find_first_not_of(" \t\r") != std::string::npos) return line;
  }
  if (in_.bad()) return std::unexpected(failed(path_));
  return std::nullopt;
}

std::string LineReader::fingerprint() const { return fmt::format("{:016x}-{}", hash_, offset_); }

Result<std::string> read_lines(const std::filesystem::path& path,
                               const std::function<Status(const LineReader::Line&)>& take,
                               std::size_t longest) {
  BRIMFUL_TRY(LineReader reader, LineReader::open(path, longest));
  for (;;) {
    BRIMFUL_TRY(const auto line, reader.next());
    if (!line) return reader.fingerprint();
    BRIMFUL_TRY_VOID(take(*line));
  }
}

Result<std::string> read_at(const std::filesystem::path& path, std::uint64_t offset, std::uint64_t bytes) {
  std::ifstream in(path, std::ios::binary);
  std::string out(bytes, '\0');
  in.seekg(static_cast<std::streamoff>(offset));
  if (!in.read(out.data(), static_cast<std::streamsize>(bytes)))
    return fail(ErrorCode::kIo, fmt::format("{}: cannot be read again: it may have changed", path.string()));
  return out;
}

Status check_absent(const std::filesystem::path& path) {
  if (is_stream(path) || !std::filesystem::exists(path)) return {};
  return fail(ErrorCode::kInvalidArgument,
              fmt::format("{}: exists already: remove it, or name another file", path.string()));
}

Result<WholeFile> WholeFile::create(std::filesystem::path path, unsigned rights) {
  WholeFile out(std::move(path), -1);
  out.file_ = ::open(out.unfinished().c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, rights);
  if (out.file_ < 0) return std::unexpected(failed(out.path_));
  return out;
}

WholeFile::WholeFile(WholeFile&& other) noexcept
    : path_(std::move(other.path_)),
      file_(std::exchange(other.file_, -1)),
      buffer_(std::move(other.buffer_)) {}

WholeFile::~WholeFile() {
  if (file_ < 0) return;
  ::close(file_);
  ::unlink(unfinished().c_str());
}

Status WholeFile::flush() {
  std::string_view left = buffer_;
  while (!left.empty()) {
    const ::ssize_t written = ::write(file_, left.data(), left.size());
    if (written < 0 && errno == EINTR) continue;
    if (written < 0) return std::unexpected(failed(path_));
    left.remove_prefix(static_cast<std::size_t>(written));
  }
  buffer_.clear();
  return {};
}

Status WholeFile::write(std::string_view bytes) {
  buffer_ += bytes;
  return buffer_.size() < kBuffer ? Status{} : flush();
}

Status WholeFile::write_line(std::string_view line) {
  buffer_ += line;
  return write("\n");
}

Status WholeFile::commit() {
  BRIMFUL_TRY_VOID(flush());
  if (::fsync(file_) != 0) return std::unexpected(failed(path_));
  if (::rename(unfinished().c_str(), path_.c_str()) != 0) return std::unexpected(failed(path_));
  ::close(std::exchange(file_, -1));
  // The name is on the disk only when the folder is synced.
  const std::filesystem::path folder = path_.has_parent_path() ? path_.parent_path() : ".";
  const int handle = ::open(folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (handle < 0) return std::unexpected(failed(folder));
  const bool synced = ::fsync(handle) == 0;
  const Error error = failed(folder);
  ::close(handle);
  return synced ? Status{} : std::unexpected(error);
}

}  // namespace brimful::batch
