#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <span>
#include <string>
#include <utility>

#include "base/result.h"
#include "hub/hasher.h"

namespace brimful::hub {

/// A file that is written in any order, and read back. Several threads may write different places at the same
/// time. Move-only.
class PartFile {
 public:
  /// Opens or makes the file, gives it its size, and reserves its space on the disk.
  /// Errors: kNoSpace, with the missing bytes; kIo.
  [[nodiscard]] static Result<PartFile> open(const std::filesystem::path& path, std::uint64_t size);
  /// Opens a file to read it. Errors: kNotFound.
  [[nodiscard]] static Result<PartFile> open_to_read(const std::filesystem::path& path);
  PartFile(PartFile&& other) noexcept
      : path_(std::move(other.path_)), file_(std::exchange(other.file_, -1)) {}
  PartFile& operator=(PartFile&&) = delete;
  ~PartFile();

  /// Errors: kNoSpace, kIo.
  [[nodiscard]] Status write(std::uint64_t at, std::span<const std::byte> bytes) const;
  /// Adds `size` bytes from `at` on to a hash. `progress`, if set, is called with the bytes of each step.
  /// Errors: kIo, also when the file is shorter.
  [[nodiscard]] Status hash(std::uint64_t at, std::uint64_t size, Hasher& hasher,
                            const std::function<void(std::uint64_t)>& progress = {}) const;
  /// Waits until the disk has everything. Errors: kIo, kNoSpace.
  [[nodiscard]] Status sync() const;
  /// The size in bytes. Errors: kIo.
  [[nodiscard]] Result<std::uint64_t> size() const;

 private:
  PartFile(std::filesystem::path path, int file) : path_(std::move(path)), file_(file) {}

  std::filesystem::path path_;
  int file_;
};

}  // namespace brimful::hub
