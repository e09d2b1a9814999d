#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <string>
#include <string_view>

#include "base/result.h"

namespace strata::batch {

/// Calls `take` with each line that is not blank, its number from 1 and where it begins. Returns a text that
/// tells this content from another. Errors: kNotFound, kIo; those of `take`.
[[nodiscard]] Result<std::string> read_lines(
    const std::filesystem::path& path,
    const std::function<Status(std::int64_t number, std::uint64_t offset, std::string_view line)>& take);

/// So many bytes from `offset` on. Errors: kIo.
[[nodiscard]] Result<std::string> read_at(const std::filesystem::path& path, std::uint64_t offset,
                                          std::uint64_t bytes);

/// Errors: kInvalidArgument where there is such a file: nobody's answers are written over.
[[nodiscard]] Status check_absent(const std::filesystem::path& path);

/// A file that appears under its name when it is whole and on the disk, or not at all.
class WholeFile {
 public:
  /// Errors: kIo, kNoSpace; from the other calls, too.
  [[nodiscard]] static Result<WholeFile> create(std::filesystem::path path);
  WholeFile(WholeFile&& other) noexcept;
  WholeFile& operator=(WholeFile&&) = delete;
  ~WholeFile();

  [[nodiscard]] Status write_line(std::string_view line);
  [[nodiscard]] Status commit();

 private:
  WholeFile(std::filesystem::path path, int file) : path_(std::move(path)), file_(file) {}
  [[nodiscard]] std::filesystem::path unfinished() const { return path_.string() + ".part"; }
  [[nodiscard]] Status flush();

  std::filesystem::path path_;
  int file_;
  std::string buffer_;
};

}  // namespace strata::batch
