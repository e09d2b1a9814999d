#pragma once

#include <filesystem>
#include <functional>
#include <string>
#include <string_view>

#include "base/result.h"

namespace brimful::batch {

/// The path that means standard input or standard output.
inline constexpr const char* kStandard = "-";

/// Whether `path` is `-`, a pipe, a terminal or another device, which can be read or written only once, from
/// beginning to end.
[[nodiscard]] bool is_stream(const std::filesystem::path& path);
/// The name for people: `standard input`, or the path.
[[nodiscard]] std::string input_name(const std::filesystem::path& path);
/// The name for people: `standard output`, or the path.
[[nodiscard]] std::string output_name(const std::filesystem::path& path);

/// Copies a stream to its end into the file `copy`, and syncs it. `stopped` is asked five times a second
/// while nothing arrives; true ends the copy. `patiently` repeats a write as long as the disk is full.
/// Errors: kCancelled; kIo, kNoSpace; kInvalidArgument when another process writes the same copy. The copy is
/// removed when it was not completed. Blocks.
[[nodiscard]] Status keep_stream(const std::filesystem::path& stream, const std::filesystem::path& copy,
                                 const std::function<bool()>& stopped,
                                 const std::function<Status(const std::function<Status()>&)>& patiently);

/// Renames a file; replaces a file that has the new name. Errors: kIo, kNoSpace.
[[nodiscard]] Status move_file(const std::filesystem::path& from, const std::filesystem::path& to);

/// Writes lines into a stream. Move-only.
class StreamWriter {
 public:
  /// Errors of this and all other calls: kIo, also when the disk behind the stream is full, because data that
  /// a stream took cannot be taken back.
  [[nodiscard]] static Result<StreamWriter> open(const std::filesystem::path& path);
  StreamWriter(StreamWriter&& other) noexcept;
  StreamWriter& operator=(StreamWriter&&) = delete;
  ~StreamWriter();

  [[nodiscard]] Status write_line(std::string_view line);
  /// Writes everything that is buffered.
  [[nodiscard]] Status flush();

 private:
  StreamWriter(std::filesystem::path path, int file) : path_(std::move(path)), file_(file) {}

  std::filesystem::path path_;
  int file_;
  std::string buffer_;
};

}  // namespace brimful::batch
