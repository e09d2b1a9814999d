#include "cli/terminal_mode.h"

#include <fmt/format.h>
#include <termios.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <cerrno>
#include <csignal>
#include <cstring>
#include <utility>

#include "base/check.h"

namespace brimful::cli {
namespace {

// The signals with which others end a process. After a crash the shell restores the terminal.
constexpr std::array kEndingSignals{SIGHUP, SIGQUIT, SIGTERM};

/// The data for the signal handlers, which may only read it, and call only functions that are
/// async-signal-safe.
struct State {
  pid_t owner = 0;  // Forked children inherit the handlers, and must not touch the terminal.
  termios before{};
  std::string begin;
  std::string end;
  std::array<struct sigaction, kEndingSignals.size()> ending{};
  struct sigaction stop {};
  struct sigaction resize {};
};
State state;
std::atomic<bool> entered{false};
std::atomic<bool> redraw{false};

void write_sequence(const std::string& sequence) {
  // When the terminal is gone, there is nothing to restore.
  if (::write(STDIN_FILENO, sequence.data(), sequence.size()) < 0) return;
}

void restore_terminal() {
  if (::getpid() != state.owner) return;
  write_sequence(state.end);
  ::tcsetattr(STDIN_FILENO, TCSANOW, &state.before);
}

void on_ending_signal(int number) {
  if (entered) restore_terminal();
  ::raise(number);  // Because of SA_RESETHAND the default action follows when this handler has returned.
}

void on_stop(int) {
  const int error = errno;
  termios now{};
  ::tcgetattr(STDIN_FILENO, &now);
  restore_terminal();
  ::kill(::getpid(), SIGSTOP);
  // Here the process goes on, in the foreground again.
  ::tcsetattr(STDIN_FILENO, TCSANOW, &now);
  write_sequence(state.begin);
  redraw = true;
  errno = error;
}

void on_resize(int) { redraw = true; }

struct sigaction action_of(void (*handler)(int), int flags) {
  struct sigaction action {};
  action.sa_handler = handler;
  action.sa_flags = flags;
  return action;
}

}  // namespace

Result<std::unique_ptr<TerminalMode>> TerminalMode::enter(std::string begin, std::string end) {
  BRIMFUL_CHECK(!entered);
  if (::tcgetattr(STDIN_FILENO, &state.before) != 0)
    return fail(ErrorCode::kIo, fmt::format("standard input is not a terminal: {}", std::strerror(errno)));
  termios mode = state.before;
  mode.c_lflag &= ~static_cast<tcflag_t>(ICANON | ECHO | IEXTEN);
  mode.c_iflag &= ~static_cast<tcflag_t>(IXON);
  mode.c_lflag |= ISIG;
  mode.c_cc[VMIN] = 1;
  mode.c_cc[VTIME] = 0;
  if (::tcsetattr(STDIN_FILENO, TCSADRAIN, &mode) != 0)
    return fail(ErrorCode::kIo,
                fmt::format("the terminal's settings cannot be changed: {}", std::strerror(errno)));
  state.owner = ::getpid();
  state.begin = std::move(begin);
  state.end = std::move(end);
  entered = true;
  const auto ending = action_of(on_ending_signal, SA_RESETHAND);
  for (std::size_t i = 0; i < kEndingSignals.size(); ++i)
    ::sigaction(kEndingSignals[i], &ending, &state.ending[i]);
  const auto stop = action_of(on_stop, SA_RESTART);
  ::sigaction(SIGTSTP, &stop, &state.stop);
  const auto resize = action_of(on_resize, 0);  // Without SA_RESTART, the signal ends a wait.
  ::sigaction(SIGWINCH, &resize, &state.resize);
  write_sequence(state.begin);
  return std::unique_ptr<TerminalMode>(new TerminalMode());
}

TerminalMode::~TerminalMode() {
  entered = false;
  for (std::size_t i = 0; i < kEndingSignals.size(); ++i)
    ::sigaction(kEndingSignals[i], &state.ending[i], nullptr);
  ::sigaction(SIGTSTP, &state.stop, nullptr);
  ::sigaction(SIGWINCH, &state.resize, nullptr);
  restore_terminal();
}

void TerminalMode::restore_before_exit() {
  if (entered) restore_terminal();
}

bool TerminalMode::redraw_asked() { return redraw.exchange(false); }

}  // namespace brimful::cli
