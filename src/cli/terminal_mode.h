#pragma once

#include <memory>
#include <string>

#include "base/result.h"

namespace brimful::cli {

/// Puts the terminal on standard input into a mode in which it delivers each key at once, without echo and
/// without a limit for the length of a line. Ctrl-C, Ctrl-\ and Ctrl-Z raise their signals as always. The
/// old mode comes back when the object is destroyed, when a signal ends the process, and for as long as
/// Ctrl-Z stops it. At most one such object exists at a time. Threading: one thread.
class TerminalMode {
 public:
  /// Enters the mode. `begin` is written to the terminal now, and `end` when the old mode comes back; they
  /// are control sequences such as those of bracketed paste. Errors: kIo when standard input is no terminal,
  /// or refuses the mode.
  [[nodiscard]] static Result<std::unique_ptr<TerminalMode>> enter(std::string begin, std::string end);
  ~TerminalMode();
  TerminalMode(const TerminalMode&) = delete;
  TerminalMode& operator=(const TerminalMode&) = delete;

  /// Whether the screen has to be drawn again, because the window got another size or the process went on
  /// after Ctrl-Z since the last call.
  [[nodiscard]] static bool redraw_asked();
  /// Brings the old mode back before the process ends without destructors. Async-signal-safe.
  static void restore_before_exit();

 private:
  TerminalMode() = default;
};

}  // namespace brimful::cli
