#pragma once

#include <fcntl.h>
#include <gtest/gtest.h>
#include <poll.h>
#include <pty.h>
#include <signal.h>
#include <sys/wait.h>
#include <termios.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <chrono>
#include <cstdlib>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "sanitized.h"

namespace brimful::tests {

/// A terminal (TERM=xterm) on which a program runs. A test types keys, and reads what the program shows.
class TypedTerminal {
 public:
  /// Runs `program` in a child process on the terminal. `program` must not return.
  explicit TypedTerminal(const std::function<void()>& program) {
    winsize size{.ws_row = 24, .ws_col = 80, .ws_xpixel = 0, .ws_ypixel = 0};
    child_ = ::forkpty(&terminal_, nullptr, nullptr, &size);
    if (child_ != 0) {
      ::fcntl(terminal_, F_SETFL, O_NONBLOCK);
      return;
    }
    ::setenv("TERM", "xterm", 1);
    program();
    ::_exit(127);
  }
  /// Runs `brimful ARGUMENTS`.
  explicit TypedTerminal(const std::vector<std::string>& arguments)
      : TypedTerminal([&] {
          std::vector<char*> words{const_cast<char*>("brimful")};
          for (const std::string& argument : arguments) words.push_back(const_cast<char*>(argument.c_str()));
          words.push_back(nullptr);
          ::execv(BRIMFUL_PROGRAM, words.data());
        }) {}
  ~TypedTerminal() {
    if (child_ > 0) {
      ::kill(child_, SIGKILL);
      ::waitpid(child_, nullptr, 0);
    }
    ::close(terminal_);
  }
  TypedTerminal(const TypedTerminal&) = delete;
  TypedTerminal& operator=(const TypedTerminal&) = delete;

  /// Types `keys`. Meanwhile it reads what the program shows; otherwise the program and the test would wait
  /// for each other.
  void type(std::string_view keys) {
    while (!keys.empty()) {
      pollfd ready{terminal_, POLLIN | POLLOUT, 0};
      ASSERT_GT(::poll(&ready, 1, 120'000), 0) << "the program takes no more keys";
      if ((ready.revents & POLLIN) != 0) {
        ASSERT_TRUE(read_more()) << "the program has ended";
      }
      if ((ready.revents & POLLOUT) == 0) continue;
      const ssize_t done = ::write(terminal_, keys.data(), std::min<std::size_t>(keys.size(), 512));
      if (done > 0) keys.remove_prefix(static_cast<std::size_t>(done));
    }
  }
  /// Reads until the program has shown `text` after the text that the previous call found. Returns
  /// everything between them.
  std::string expect(std::string_view text) {
    const auto limit = std::chrono::steady_clock::now() + kPatience;
    std::size_t found = std::string::npos;
    while ((found = shown_.find(text)) == std::string::npos) {
      if (std::chrono::steady_clock::now() > limit || !read_more()) {
        ADD_FAILURE() << "no '" << text << "' in: " << shown_;
        return {};
      }
    }
    std::string before = shown_.substr(0, found);
    shown_.erase(0, found + text.size());
    return before;
  }
  /// Reads until the program has shown anything more.
  void expect_anything() {
    const auto limit = std::chrono::steady_clock::now() + kPatience;
    while (shown_.empty())
      ASSERT_TRUE(std::chrono::steady_clock::now() < limit && read_more()) << "shows nothing";
  }
  /// Reads until the program has ended. Returns its status, as waitpid() reports it.
  int wait_for_end() {
    while (read_more()) {
    }
    int status = -1;
    ::waitpid(child_, &status, 0);
    child_ = -1;
    return status;
  }
  /// Waits until the program is stopped, as by Ctrl-Z. Returns false when it ended instead.
  [[nodiscard]] bool wait_for_stop() const {
    int status = 0;
    return ::waitpid(child_, &status, WUNTRACED) == child_ && WIFSTOPPED(status);
  }
  void signal(int number) const { ::kill(child_, number); }
  /// The text that was shown and that no call of expect() has taken.
  [[nodiscard]] const std::string& rest() const { return shown_; }
  /// Whether the terminal delivers whole lines (canonical mode), as a shell leaves it.
  [[nodiscard]] bool takes_whole_lines() const {
    termios mode{};
    return ::tcgetattr(terminal_, &mode) == 0 && (mode.c_lflag & ICANON) != 0;
  }

 private:
  static constexpr std::chrono::seconds kPatience{kThreadSanitized ? 1200 : 120};

  /// Waits a moment for output. Returns false when the program has closed the terminal.
  bool read_more() {
    pollfd output{terminal_, POLLIN, 0};
    if (::poll(&output, 1, 50) <= 0) return true;
    std::array<char, 4096> block{};
    const ssize_t got = ::read(terminal_, block.data(), block.size());
    if (got < 0 && errno == EAGAIN) return true;
    if (got <= 0) return false;
    shown_.append(block.data(), static_cast<std::size_t>(got));
    return true;
  }

  pid_t child_ = -1;
  int terminal_ = -1;
  std::string shown_;
};

}  // namespace brimful::tests
