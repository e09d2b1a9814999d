#include "tier/io/disk_reader.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <utility>

#include "tier/io/reader_impl.h"

namespace brimful::tier {
namespace {

std::int64_t modified_ns(const struct stat& st) {
  return static_cast<std::int64_t>(st.st_mtim.tv_sec) * 1'000'000'000 + st.st_mtim.tv_nsec;
}

Error changed(const std::string& path) {
  return Error{
      ErrorCode::kIo,
      fmt::format("{}: the file was changed while it was in use; start again with the new file", path)};
}

}  // namespace

Result<DiskFiles> DiskFiles::open(const model::ModelProfile& profile) {
  DiskFiles out;
  for (const model::ModelFile& file : profile.files) {
    File opened;
    opened.path = file.path.string();
    opened.direct = true;
    opened.fd = ::open(opened.path.c_str(), O_RDONLY | O_CLOEXEC | O_DIRECT);
    if (opened.fd < 0 && errno == EINVAL) {  // tmpfs and some network file systems refuse O_DIRECT
      opened.direct = false;
      opened.fd = ::open(opened.path.c_str(), O_RDONLY | O_CLOEXEC);
    }
    if (opened.fd < 0) {
      const ErrorCode code = errno == ENOENT ? ErrorCode::kNotFound : ErrorCode::kIo;
      return fail(code, fmt::format("{}: cannot open: {}", opened.path, std::strerror(errno)));
    }
    struct stat st {};
    const bool known = ::fstat(opened.fd, &st) == 0;
    opened.size = known ? static_cast<std::uint64_t>(st.st_size) : 0;
    opened.modified_ns = modified_ns(st);
    out.files_.push_back(opened);  // from here on, `out` closes it
    if (!known || opened.size != file.size.value || st.st_ino != file.inode || st.st_dev != file.device ||
        opened.modified_ns != file.modified_ns) {
      return std::unexpected(changed(opened.path));
    }
  }
  return out;
}

DiskFiles::DiskFiles(DiskFiles&& other) noexcept : files_(std::exchange(other.files_, {})) {}

DiskFiles& DiskFiles::operator=(DiskFiles&& other) noexcept {
  std::swap(files_, other.files_);
  return *this;
}

DiskFiles::~DiskFiles() {
  for (const File& file : files_) ::close(file.fd);
}

Status DiskFiles::check_unchanged() const {
  for (const File& file : files_) {
    struct stat st {};
    if (::fstat(file.fd, &st) != 0) {
      return fail(ErrorCode::kIo, fmt::format("{}: {}", file.path, std::strerror(errno)));
    }
    if (static_cast<std::uint64_t>(st.st_size) != file.size || modified_ns(st) != file.modified_ns) {
      return std::unexpected(changed(file.path));
    }
  }
  return {};
}

std::optional<Status> finish_block(const DiskFiles::File& file, BlockState& state, std::int64_t result) {
  constexpr int kRetries = 4;
  const std::uint64_t wanted = std::min<std::uint64_t>(state.read.size, file.size - state.read.offset);
  if (result < 0) {
    const auto error = static_cast<int>(-result);
    const bool transient = error == EINTR || error == EAGAIN || error == EIO;
    if (transient && ++state.retries <= kRetries) return std::nullopt;
    return fail(ErrorCode::kIo,
                fmt::format("{}: reading {} at offset {} failed: {}; check the disk", file.path,
                            format_bytes(Bytes{state.read.size}), state.read.offset, std::strerror(error)));
  }
  const std::uint64_t before = state.done;
  state.done += static_cast<std::uint64_t>(result);
  if (state.done >= wanted) {
    if (!file.direct) {
      ::posix_fadvise(file.fd, static_cast<off_t>(state.read.offset), state.read.size, POSIX_FADV_DONTNEED);
    }
    return Status{};
  }
  // After a short read, the next one begins at the last whole block: direct reads must stay aligned.
  state.done = align_down(state.done, DiskFiles::kBlock);
  if (state.done > before) state.retries = 0;  // some file systems only ever read in small pieces
  if (++state.retries <= kRetries) return std::nullopt;
  return fail(ErrorCode::kIo,
              fmt::format("{}: the file ends at byte {} and should be {} long: it was cut while in "
                          "use; fetch it again",
                          file.path, state.read.offset + state.done, file.size));
}

Result<std::unique_ptr<DiskReader>> make_reader(const DiskFiles& files, ReaderKind kind, std::size_t depth) {
  if (kind != ReaderKind::kThreads) {
    auto uring = make_uring_reader(files, depth);
    if (uring || kind == ReaderKind::kUring) return uring;
  }
  return make_thread_reader(files, depth);
}

}  // namespace brimful::tier
