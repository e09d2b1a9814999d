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

/// The largest length of a line with a request, in bytes. A longer line cannot be read.
inline constexpr std::size_t kLongestLine = 8U << 20;

/// Reads the lines of a file, one after the other. Move-only.
class LineReader {
 public:
  /// The text of lines longer than `longest` bytes is not kept. Errors: kNotFound, kIo.
  [[nodiscard]] static Result<LineReader> open(std::filesystem::path path, std::size_t longest = SIZE_MAX);

  struct Line {
    std::int64_t number = 0;  ///< from 1
    /// Offset in the file, in bytes.
    std::uint64_t offset = 0;
    /// Valid until the next call. Empty when the line is too long.
    std::string_view text;
    bool too_long = false;
  };
  /// The next line that is not blank; nothing at the end. Errors: kIo.
  [[nodiscard]] Result<std::optional<Line>> next();
  /// A text that identifies the content that was read so far.
  [[nodiscard]] std::string fingerprint() const;

 private:
  LineReader(std::filesystem::path path, std::ifstream in, std::size_t longest)
      : path_(std::move(path)), in_(std::move(in)), longest_(longest) {}
  [[nodiscard]] bool read_line();

  std::filesystem::path path_;
  std::ifstream in_;
  std::size_t longest_;
  std::string text_;
  std::uint64_t size_ = 0;  // of the line, without its newline
  std::int64_t number_ = 0;
  std::uint64_t offset_ = 0;
  std::uint64_t hash_ = 14695981039346656037ULL;  // FNV-1a, 64 bits
};

/// Calls `take` with each line that is not blank. The text of lines longer than `longest` bytes is not kept.
/// Returns the fingerprint of the whole file. Errors: those of LineReader and of `take`.
[[nodiscard]] Result<std::string> read_lines(const std::filesystem::path& path,
                                             const std::function<Status(const LineReader::Line&)>& take,
                                             std::size_t longest = SIZE_MAX);

/// Reads exactly `bytes` bytes from `offset` on. Errors: kIo.
[[nodiscard]] Result<std::string> read_at(const std::filesystem::path& path, std::uint64_t offset,
                                          std::uint64_t bytes);

/// Checks that no file would be overwritten. Errors: kInvalidArgument when `path` exists and is not a stream.
[[nodiscard]] Status check_absent(const std::filesystem::path& path);

/// A file that appears under its name when it is complete and on the disk, or not at all.
class WholeFile {
 public:
  /// Creates the file under a temporary name (`PATH.part`). `rights`: its permission bits, less the umask of
  /// the process. Errors of this and all other calls: kIo, kNoSpace.
  [[nodiscard]] static Result<WholeFile> create(std::filesystem::path path, unsigned rights = 0666);
  WholeFile(WholeFile&& other) noexcept;
  WholeFile& operator=(WholeFile&&) = delete;
  ~WholeFile();

  [[nodiscard]] Status write(std::string_view bytes);
  [[nodiscard]] Status write_line(std::string_view line);
  /// Syncs the file, gives it its name, and syncs its folder. Without this, the destructor removes the file.
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
