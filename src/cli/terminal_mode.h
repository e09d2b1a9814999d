#pragma once

#include <memory>
#include <string>

#include "base/result.h"

namespace brimful::cli {

/// While it lives, the terminal on standard input gives each key at once, does not echo it, and has no limit
/// for the length of a line. Ctrl-C, Ctrl-\ and Ctrl-Z raise their signals as always. `begin` is written to
/// the terminal at the start, `end` at the end: control sequences such as those of bracketed paste. The
/// terminal gets back what it had when this ends, when a signal ends the process, and while Ctrl-Z stops it.
/// At most one of these lives at a time. Threading: one thread.
class TerminalMode {
 public:
  /// Errors: kIo: standard input is no terminal, or refuses.
  [[nodiscard]] static Result<std::unique_ptr<TerminalMode>> enter(std::string begin, std::string end);
  ~TerminalMode();
  TerminalMode(const TerminalMode&) = delete;
  TerminalMode& operator=(const TerminalMode&) = delete;

  /// Whether the window has another size, or the process goes on after Ctrl-Z, since this was last asked:
  /// what is on the screen has to be drawn again.
  [[nodiscard]] static bool redraw_asked();
  /// Gives the terminal back what it had, where the process ends without destructors. Async-signal-safe.
  static void restore_before_exit();

 private:
  TerminalMode() = default;
};

}  // namespace brimful::cli
