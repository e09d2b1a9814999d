#pragma once

#include <cstddef>
#include <filesystem>
#include <memory>
#include <span>
#include <string>

#include "base/bytes.h"
#include "base/result.h"

namespace brimful::synth {

/// A file that is written once, from front to back, past the page cache. The bytes go to `NAME.part` beside
/// the final place; publish() gives the file its name. When the object is destroyed before that, the part is
/// removed. A character device or a pipe is written to directly, and never replaced.
/// Not thread-safe. Move-only. Holds: a buffer of 4 MiB, until finish().
class OutputFile {
 public:
  /// Creates the file, and reserves `size` bytes on the disk when the file system can do that.
  /// Errors: kInvalidArgument when the file exists and `replace` is false, or when the path is a directory
  /// or a disk; kIo, also when the disk has too little room. Messages name the file.
  [[nodiscard]] static Result<OutputFile> create(const std::filesystem::path& path, Bytes size, bool replace);

  OutputFile(OutputFile&& other) noexcept;
  OutputFile& operator=(OutputFile&&) = delete;
  ~OutputFile();

  /// The part of the buffer for the next bytes; at least one byte long. It is valid until the next call of
  /// any other function.
  [[nodiscard]] std::span<std::byte> space();
  /// Appends the first `n` bytes of space() to the file. Errors: kIo.
  [[nodiscard]] Status commit(std::size_t n);

  // These append `bytes`, or `n` zeros. Errors: kIo.
  [[nodiscard]] Status append(std::span<const std::byte> bytes);
  [[nodiscard]] Status append_zeros(std::uint64_t n);

  /// Writes the rest of the buffer, syncs the file and closes it. Errors: kIo.
  [[nodiscard]] Status finish();
  /// Gives the file its name, and replaces an older file there. Requires: finish() succeeded. Errors: kIo.
  [[nodiscard]] Status publish();

 private:
  struct Free {
    void operator()(std::byte* p) const { std::free(p); }
  };

  OutputFile(std::filesystem::path path, std::filesystem::path part, int fd, bool direct, Bytes size);

  [[nodiscard]] Status flush();
  [[nodiscard]] std::unexpected<Error> write_error(int error) const;

  std::filesystem::path path_;
  std::filesystem::path part_;  // Empty for a device, and after publish().
  int fd_;
  bool direct_;
  Bytes size_;
  std::uint64_t written_ = 0;
  std::size_t filled_ = 0;
  std::unique_ptr<std::byte, Free> buffer_;
};

}  // namespace brimful::synth
