#pragma once

#include <cstdint>
#include <filesystem>
#include <fstream>
#include <functional>
#include <optional>
#include <string>
#include <string_view>

#include "base/result.h"

namespace brimful::batch {

/// Bytes of a line with a request, at most: a longer line cannot be read.
inline constexpr std::size_t kLongestLine = 8U << 20;

/// Lines of a file, one after the other. Move-only.
class LineReader {
 public:
  /// Of lines that are longer than `longest`, no text is kept. Errors: kNotFound, kIo.
  [[nodiscard]] static Result<LineReader> open(std::filesystem::path path, std::size_t longest = SIZE_MAX);

  struct Line {
    std::int64_t number = 0;   ///< from 1
    std::uint64_t offset = 0;  ///< where it begins
    std::string_view text;     ///< until the next call
    bool too_long = false;
  };
  /// The next one that is not blank; nothing at the end. Errors: kIo.
  [[nodiscard]] Result<std::optional<Line>> next();
  /// A text that tells what was read until now from another content.
  [[nodiscard]] std::string fingerprint() const;

 private:
  LineReader(std::filesystem::path path, std::ifstream in, std::size_t longest)
      : path_(std::move(path)), in_(std::move(in)), longest_(longest) {}
  [[nodiscard]] bool read_line();

  std::filesystem::path path_;
  std::ifstream in_;
  std::size_t longest_;
  std::string text_;
  std::uint64_t size_ = 0;  // of the line, its end left out
  std::int64_t number_ = 0;
  std::uint64_t offset_ = 0;
  std::uint64_t hash_ = 14695981039346656037ULL;  // FNV-1a, 64 bits
};

/// Calls `take` with each line; of lines that are longer than `longest`, no text is kept. Returns the
/// fingerprint of them all. Errors: as LineReader; those of `take`.
[[nodiscard]] Result<std::string> read_lines(const std::filesystem::path& path,
                                             const std::function<Status(const LineReader::Line&)>& take,
                                             std::size_t longest = SIZE_MAX);

/// So many bytes from `offset` on. Errors: kIo.
[[nodiscard]] Result<std::string> read_at(const std::filesystem::path& path, std::uint64_t offset,
                                          std::uint64_t bytes);

/// Errors: kInvalidArgument where there is a file that keeps its content: nobody's answers are written over.
[[nodiscard]] Status check_absent(const std::filesystem::path& path);

/// A file that appears under its name when it is whole and on the disk, or not at all.
class WholeFile {
 public:
  /// `rights`: of the file, less the process's umask. Errors: kIo, kNoSpace; from the other calls, too.
  [[nodiscard]] static Result<WholeFile> create(std::filesystem::path path, unsigned rights = 0666);
  WholeFile(WholeFile&& other) noexcept;
  WholeFile& operator=(WholeFile&&) = delete;
  ~WholeFile();

  [[nodiscard]] Status write(std::string_view bytes);
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

}  // namespace brimful::batch
