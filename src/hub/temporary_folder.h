#pragma once

#include <filesystem>
#include <utility>

#include "base/result.h"

namespace brimful::hub {

/// A new folder. The destructor removes it with everything in it. Move-only.
class TemporaryFolder {
 public:
  /// Makes a folder among the temporary files that only this user can enter. Errors: kIo.
  [[nodiscard]] static Result<TemporaryFolder> make();
  /// Does the same inside `parent`, which is made when it is missing. Errors: kIo.
  [[nodiscard]] static Result<TemporaryFolder> make_in(const std::filesystem::path& parent);

  TemporaryFolder(TemporaryFolder&& other) noexcept : path_(std::exchange(other.path_, {})) {}
  TemporaryFolder& operator=(TemporaryFolder&&) = delete;
  ~TemporaryFolder();

  [[nodiscard]] const std::filesystem::path& path() const { return path_; }

 private:
  explicit TemporaryFolder(std::filesystem::path path) : path_(std::move(path)) {}

  std::filesystem::path path_;  // Empty after a move.
};

}  // namespace brimful::hub
