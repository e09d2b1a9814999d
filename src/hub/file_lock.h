#pragma once

#include <filesystem>
#include <functional>
#include <utility>

#include "base/result.h"

namespace brimful::hub {

/// A lock between processes: an flock() on a file, which the kernel releases when the process ends.
/// Move-only; the destructor releases it. The file stays, because another process may wait for it.
class FileLock {
 public:
  /// Takes the lock, and waits for it. `waits` is called once, when another process holds it.
  /// Errors: kIo when the file or its folder cannot be made. Blocks: until the other process releases it.
  [[nodiscard]] static Result<FileLock> take(const std::filesystem::path& file,
                                             const std::function<void()>& waits);

  /// Takes the lock if nobody holds it. Errors: kIo, also when another process holds it.
  [[nodiscard]] static Result<FileLock> try_to_take(const std::filesystem::path& file);

  FileLock(FileLock&& other) noexcept : file_(std::exchange(other.file_, -1)) {}
  FileLock& operator=(FileLock&&) = delete;
  ~FileLock();

 private:
  [[nodiscard]] static Result<FileLock> open(const std::filesystem::path& file);
  explicit FileLock(int file) : file_(file) {}

  int file_;
};

}  // namespace brimful::hub
