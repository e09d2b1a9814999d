#pragma once

#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <filesystem>
#include <memory>
#include <span>

#include "base/bytes.h"
#include "base/result.h"

namespace brimful::quantise {

/// A file that is written from front to back past the page cache, and that another process can go on with at
/// any byte that has reached it. Its name is NAME.brimful-part, beside the final place; its owner renames it.
/// Only one process at a time can have it. Not thread-safe. Move-only. Holds: a buffer of kBuffer bytes.
class PartFile {
 public:
  static constexpr std::size_t kBuffer = 4 * 1024 * 1024;

  /// The path of the unfinished file.
  [[nodiscard]] static std::filesystem::path part_of(const std::filesystem::path& path);

  /// Opens the unfinished file for writing at the byte `start`, and makes it when it is missing. Bytes before
  /// `start` stay. Reserves `size` bytes on the disk where the file system can do that.
  /// Errors: kIo: the folder cannot be written, the disk is too full, or another process has the file. Where
  /// the file is shorter than `start`, kInternal. Messages name the file.
  [[nodiscard]] static Result<PartFile> open(const std::filesystem::path& path, std::uint64_t start,
                                             Bytes size);
  PartFile(PartFile&& other) noexcept;
  PartFile& operator=(PartFile&&) = delete;
  ~PartFile();  // the unfinished file stays

  /// Appends bytes. Errors: kIo, with the number of bytes that the file needs when the disk is full.
  [[nodiscard]] Status append(std::span<const std::byte> bytes);
  [[nodiscard]] Status append_zeros(std::uint64_t n);

  /// How many bytes have left the buffer: a process that is killed loses none of them.
  [[nodiscard]] std::uint64_t written() const { return written_; }
  /// Makes written() bytes survive a power cut, too. Errors: kIo. Blocks: on the disk.
  [[nodiscard]] Status sync();

  /// Writes the rest of the buffer, cuts the file there, and syncs it. Errors: kIo.
  [[nodiscard]] Status finish();

 private:
  struct Free {
    void operator()(std::byte* p) const { std::free(p); }
  };
  PartFile(std::filesystem::path path, int fd, bool direct, Bytes size);
  [[nodiscard]] Status flush();
  [[nodiscard]] std::unexpected<Error> write_error(int error) const;

  std::filesystem::path path_;
  int fd_ = -1;
  bool direct_ = false;
  Bytes size_;
  std::uint64_t written_ = 0;  // a multiple of the block size until the last flush
  std::size_t filled_ = 0;
  std::unique_ptr<std::byte, Free> buffer_;
};

}  // namespace brimful::quantise
