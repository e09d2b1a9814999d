#pragma once

#include <filesystem>
#include <functional>
#include <string>
#include <string_view>

#include "base/result.h"

namespace brimful::batch {

/// The path that means standard input, or standard output.
inline constexpr const char* kStandard = "-";

/// Whether `path` is `-`, a pipe, a terminal or another device: what can be read or written once, from begin
/// to end.
[[nodiscard]] bool is_stream(const std::filesystem::path& path);
/// The stream's name for people: `standard input`, or the path.
[[nodiscard]] std::string input_name(const std::filesystem::path& path);
[[nodiscard]] std::string output_name(const std::filesystem::path& path);

/// Reads a stream to its end into the file `copy`, which is synced then. `stopped` is asked a few times a
/// second while nothing comes. `patiently` runs a write again as long as the disk is full. Errors:
/// kCancelled; kIo, kNoSpace; kInvalidArgument where another process writes the same copy. The copy is gone
/// then. Blocks.
[[nodiscard]] Status keep_stream(const std::filesystem::path& stream, const std::filesystem::path& copy,
                                 const std::function<bool()>& stopped,
                                 const std::function<Status(const std::function<Status()>&)>& patiently);

/// Gives the file another name, also where a file of that name is. Errors: kIo, kNoSpace.
[[nodiscard]] Status move_file(const std::filesystem::path& from, const std::filesystem::path& to);

/// Writes into a stream, in order. Move-only.
class StreamWriter {
 public:
  /// Errors: kIo; from the other calls, too, also where the disk behind the stream is full: what a stream
  /// took cannot be taken back.
  [[nodiscard]] static Result<StreamWriter> open(const std::filesystem::path& path);
  StreamWriter(StreamWriter&& other) noexcept;
  StreamWriter& operator=(StreamWriter&&) = delete;
  ~StreamWriter();

  [[nodiscard]] Status write_line(std::string_view line);
  /// Hands everything on.
  [[nodiscard]] Status flush();

 private:
  StreamWriter(std::filesystem::path path, int file) : path_(std::move(path)), file_(file) {}

  std::filesystem::path path_;
  int file_;
  std::string buffer_;
};

}  // namespace brimful::batch
