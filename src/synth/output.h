#pragma once

#include <cstddef>
#include <filesystem>
#include <memory>
#include <span>
#include <string>

#include "base/bytes.h"
#include "base/result.h"

namespace brimful::synth {

/// A file written once, from front to back, past the page cache. It is written beside its place as
/// `NAME.part`, appears under its name by publish(), and is removed when destroyed before that.
/// A character device or a pipe is written to directly, and never replaced. Not thread-safe. Holds 4 MiB.
class OutputFile {
 public:
  /// Sets aside `size` bytes on the disk, where the file system can.
  /// Errors: kInvalidArgument where the file exists and `replace` is false, or is a directory or a disk;
  /// kIo, naming the file.
  [[nodiscard]] static Result<OutputFile> create(const std::filesystem::path& path, Bytes size, bool replace);

  OutputFile(OutputFile&& other) noexcept;
  OutputFile& operator=(OutputFile&&) = delete;
  ~OutputFile();

  /// Where the next bytes go: at least one byte. Valid until the next call of any other function.
  [[nodiscard]] std::span<std::byte> space();
  /// Says that the first `n` bytes of space() are filled. Errors: kIo.
  [[nodiscard]] Status commit(std::size_t n);

  [[nodiscard]] Status append(std::span<const std::byte> bytes);
  [[nodiscard]] Status append_zeros(std::uint64_t n);

  /// Writes what is left and closes the file, which then waits for publish(). Errors: kIo.
  [[nodiscard]] Status finish();
  /// Gives the file its name. Requires: finish(). Errors: kIo.
  [[nodiscard]] Status publish();

 private:
  struct Free {
    void operator()(std::byte* p) const { std::free(p); }
  };

  OutputFile(std::filesystem::path path, std::filesystem::path part, int fd, bool direct, Bytes size);

  [[nodiscard]] Status flush();
  [[nodiscard]] std::unexpected<Error> write_error(int error) const;

  std::filesystem::path path_;
  std::filesystem::path part_;  // empty for a device, and after publish()
  int fd_;
  bool direct_;
  Bytes size_;
  std::uint64_t written_ = 0;
  std::size_t filled_ = 0;
  std::unique_ptr<std::byte, Free> buffer_;
};

}  // namespace brimful::synth
