#pragma once

#include <filesystem>
#include <utility>

#include "base/result.h"

namespace brimful::hub {

/// A folder of our own among the temporary files, removed with all that is in it.
class TemporaryFolder {
 public:
  /// Errors: kIo.
  [[nodiscard]] static Result<TemporaryFolder> make();

  TemporaryFolder(TemporaryFolder&& other) noexcept : path_(std::exchange(other.path_, {})) {}
  TemporaryFolder& operator=(TemporaryFolder&&) = delete;
  ~TemporaryFolder();

  [[nodiscard]] const std::filesystem::path& path() const { return path_; }

 private:
  explicit TemporaryFolder(std::filesystem::path path) : path_(std::move(path)) {}

  std::filesystem::path path_;  // empty after a move
};

}  // namespace brimful::hub
