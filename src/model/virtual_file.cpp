#include "model/virtual_file.h"

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "model/header_file.h"
#include "model/merged_header.h"

namespace brimful::model {
namespace {

/// The state of one stream: the header that it holds, the size that it claims, and the reader's position.
/// The position is inside the header, or at the end of the file.
struct VirtualFile {
  std::vector<std::byte> header;
  std::uint64_t size = 0;
  std::uint64_t position = 0;
  std::array<char, 32> buffer{};  ///< The buffer that stdio uses.
};

ssize_t read_virtual(void* cookie, char* buffer, std::size_t wanted) noexcept {
  auto& file = *static_cast<VirtualFile*>(cookie);
  if (file.position >= file.header.size()) return 0;
  const std::size_t count = std::min(wanted, file.header.size() - static_cast<std::size_t>(file.position));
  std::memcpy(buffer, file.header.data() + file.position, count);
  file.position += count;
  return static_cast<ssize_t>(count);
}

/// A seek to tensor data goes to the end of the file. llama_file reads no more bytes than lie between
/// ftell() and the end, so it reads none, and reports no error. Answering its reads instead is no option:
/// stdio copies what a cookie stream reads, so it would fill the caller's memory, a whole tensor at a time.
int seek_virtual(void* cookie, off64_t* offset, int whence) noexcept {
  auto& file = *static_cast<VirtualFile*>(cookie);
  std::int64_t base = 0;
  if (whence == SEEK_CUR) base = static_cast<std::int64_t>(file.position);
  if (whence == SEEK_END) base = static_cast<std::int64_t>(file.size);
  std::int64_t target = 0;
  if (__builtin_add_overflow(base, *offset, &target) || target < 0) {
    errno = EINVAL;
    return -1;
  }
  const bool only_asks = whence == SEEK_CUR && *offset == 0;
  const bool leaves_header = static_cast<std::uint64_t>(target) >= file.header.size();
  if (!only_asks) file.position = leaves_header ? file.size : static_cast<std::uint64_t>(target);
  *offset = static_cast<off64_t>(file.position);
  return 0;
}

int close_virtual(void* cookie) noexcept {
  delete static_cast<VirtualFile*>(cookie);
  return 0;
}

/// stdio seeks to a multiple of its buffer's size, and reads up to the place that it was asked for. That
/// would hide a seek to the first tensor from us. All tensors lie at multiples of the alignment, so the
/// buffer's size must divide the alignment.
void set_buffer(std::FILE* stream, VirtualFile& file, std::uint32_t alignment) {
  const std::size_t size = std::min<std::size_t>(alignment, file.buffer.size());
  std::setvbuf(stream, file.buffer.data(), size > 1 ? _IOFBF : _IONBF, size);
}

Result<FilePtr> open_stream(std::vector<std::byte> header, std::uint64_t size, std::uint32_t alignment) {
  auto state = std::make_unique<VirtualFile>();
  state->header = std::move(header);
  state->size = size;
  const cookie_io_functions_t functions{
      .read = read_virtual, .write = nullptr, .seek = seek_virtual, .close = close_virtual};
  FilePtr stream(::fopencookie(state.get(), "rb", functions));
  if (!stream)
    return fail(ErrorCode::kIo, std::string("the model's stream cannot be opened: ") + std::strerror(errno));
  set_buffer(stream.get(), *state.release(), alignment);  // The stream owns the state from here on.
  return stream;
}

/// Reads the headers of all files again, and checks that each file is still the one of the profile.
Result<std::vector<HeaderFile>> read_headers(const ModelProfile& profile) {
  std::vector<HeaderFile> files;
  for (const ModelFile& expected : profile.files) {
    BRIMFUL_TRY(HeaderFile file, read_header(expected.path, profile.weights()));
    BRIMFUL_TRY_VOID(check_same_file(expected, file.file));
    files.push_back(std::move(file));
  }
  return files;
}

}  // namespace

Result<FilePtr> open_virtual_file(const ModelProfile& profile) {
  BRIMFUL_TRY(std::vector<HeaderFile> files, read_headers(profile));
  const std::uint32_t alignment = files[0].header.alignment;
  if (files.size() == 1) {
    const std::uint64_t size = std::max(files[0].file.size.value, files[0].header.end());
    return open_stream(std::move(files[0].bytes), size, alignment);
  }
  MergedHeader merged = merge_headers(files);
  return open_stream(std::move(merged.bytes), merged.file_size, alignment);
}

}  // namespace brimful::model
