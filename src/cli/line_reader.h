#pragma once

#include <functional>
#include <memory>
#include <string>
#include <string_view>

#include "base/bytes.h"
#include "base/result.h"

namespace brimful::cli {

/// Reads what a person types, line by line: on a terminal with editing, a history, and pastes of many lines
/// as one text; else plain lines, as from a pipe. Nothing is cut: a line that is too long is refused whole.
/// While it lives, the terminal is in a mode of its own (TerminalMode). Threading: one thread.
class LineReader {
 public:
  /// Waits until standard input has something to read. Says no where the wait is given up, as after Ctrl-C.
  /// Its errors become those of read().
  using Wait = std::function<Result<bool>()>;
  struct Line {
    enum class Kind { kText, kGivenUp, kTooLong, kEnd };
    Kind kind = Kind::kEnd;
    std::string text;  ///< of kText, and what was typed of kGivenUp: UTF-8, without the newline at its end
  };

  /// Longest line in bytes, where a context of `tokens` has to take it. A longer one would not fit the
  /// context.
  [[nodiscard]] static std::size_t longest_line(std::size_t tokens);
  /// Most memory that the lines and the history take.
  [[nodiscard]] static Bytes memory(std::size_t longest_line);

  /// Errors: kIo: the terminal cannot be used.
  [[nodiscard]] static Result<std::unique_ptr<LineReader>> create(Wait wait, std::size_t longest_line);
  virtual ~LineReader() = default;
  LineReader(const LineReader&) = delete;
  LineReader& operator=(const LineReader&) = delete;

  /// The next line. A terminal shows `prompt`. Blocks. Errors: those of Wait; kIo.
  [[nodiscard]] virtual Result<Line> read(std::string_view prompt) = 0;
  /// Puts `text` into the history, which the arrow keys reach.
  virtual void remember(const std::string& text) = 0;
  /// Draws the line again where a change of the window or a message has disturbed it. Wait may call this.
  virtual void redraw() = 0;
  /// The same, where the window has another size or the process goes on after Ctrl-Z.
  virtual void redraw_if_asked() = 0;
  /// Whether a person sits there and edits.
  [[nodiscard]] virtual bool is_terminal() const = 0;

 protected:
  LineReader() = default;
};

}  // namespace brimful::cli
