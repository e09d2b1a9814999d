#pragma once

#include <functional>
#include <memory>
#include <string>
#include <string_view>

#include "base/bytes.h"
#include "base/result.h"

namespace brimful::cli {

/// Reads standard input line by line. On a terminal, a person can edit the line, use a history, and paste
/// several lines as one text. From a pipe or a file it reads plain lines. A line that is too long is refused
/// as a whole, and never cut. As long as the object exists, the terminal is in the mode of TerminalMode.
/// Threading: one thread.
class LineReader {
 public:
  /// Waits until standard input has something to read, and returns true. Returns false to give up the line,
  /// as after Ctrl-C. Its errors become those of read().
  using Wait = std::function<Result<bool>()>;
  /// The result of read().
  struct Line {
    enum class Kind {
      kText,     ///< A line.
      kGivenUp,  ///< Wait returned false.
      kTooLong,  ///< The line was longer than the limit, and is lost.
      kEnd       ///< The input has ended.
    };
    Kind kind = Kind::kEnd;
    /// With kText the line, and with kGivenUp the part of it that was typed (from a terminal): UTF-8,
    /// without the newline at its end. Otherwise empty.
    std::string text;
  };

  /// The limit for a line, in bytes, for a context of `tokens` tokens. A longer line would not fit the
  /// context.
  [[nodiscard]] static std::size_t longest_line(std::size_t tokens);
  /// The most memory that the editor and the history take with lines of at most `longest_line` bytes.
  [[nodiscard]] static Bytes memory(std::size_t longest_line);

  /// Makes a reader for a terminal when standard input is one, else one for plain lines. `longest_line` is
  /// the limit for a line in bytes. Errors: kIo when the terminal cannot be used.
  [[nodiscard]] static Result<std::unique_ptr<LineReader>> create(Wait wait, std::size_t longest_line);
  virtual ~LineReader() = default;
  LineReader(const LineReader&) = delete;
  LineReader& operator=(const LineReader&) = delete;

  /// Reads the next line. A terminal shows `prompt` before it. Errors: those of Wait; kIo. Blocks: until
  /// there is a line.
  [[nodiscard]] virtual Result<Line> read(std::string_view prompt) = 0;
  /// Adds `text` to the history, which the arrow keys reach. A text of more than 8 KiB is not added.
  virtual void remember(const std::string& text) = 0;
  /// Draws the line again after a message or a change of the window has disturbed it. Wait may call this.
  virtual void redraw() = 0;
  /// Draws the line again when the window has a new size, or the process goes on after Ctrl-Z. Wait may call
  /// this.
  virtual void redraw_if_asked() = 0;
  /// Whether standard input is a terminal.
  [[nodiscard]] virtual bool is_terminal() const = 0;

 protected:
  LineReader() = default;
};

}  // namespace brimful::cli
