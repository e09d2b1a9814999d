// Tests with a person at a terminal: this process is the terminal, and a child process reads lines from it.

#include "cli/line_reader.h"

#include <fmt/format.h>
#include <gtest/gtest.h>
#include <poll.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <cstdlib>
#include <utility>

#include "typed_terminal.h"

namespace brimful::cli {
namespace {

using Kind = LineReader::Line::Kind;

volatile std::sig_atomic_t interrupted = 0;

/// The program of the child process: it prints each line that it reads, in quotes.
int say_lines() {
  struct sigaction action {};
  action.sa_handler = [](int) { interrupted = 1; };
  ::sigaction(SIGINT, &action, nullptr);
  LineReader* reader = nullptr;
  const auto wait = [&]() -> Result<bool> {
    for (;;) {
      if (std::exchange(interrupted, 0) != 0) return false;
      if (reader != nullptr) reader->redraw_if_asked();
      pollfd input{STDIN_FILENO, POLLIN, 0};
      if (::poll(&input, 1, 50) > 0) return true;
    }
  };
  const auto created = LineReader::create(wait, LineReader::longest_line(0));
  if (!created) return 1;
  reader = created->get();
  for (;;) {
    const auto line = reader->read("> ");
    if (!line) return 2;
    switch (line->kind) {
      case Kind::kText:
        reader->remember(line->text);
        fmt::print("{} bytes '{}'\n", line->text.size(),
                   line->text.size() > 100 ? line->text.substr(0, 20) : line->text);
        break;
      case Kind::kGivenUp: fmt::print("given up '{}'\n", line->text); break;
      case Kind::kTooLong: fmt::print("too long\n"); break;
      case Kind::kEnd: fmt::print("ended\n"); break;
    }
    std::fflush(stdout);
    if (line->kind == Kind::kEnd) return 0;
  }
}

class TypedLines : public testing::Test {
 protected:
  TypedLines() { terminal_.expect("> "); }
  /// `line` is what the child read.
  void expect_line(std::string_view line) {
    terminal_.expect(fmt::format("{} bytes '{}'", line.size(), line));
    terminal_.expect("> ");
  }
  void type(std::string_view keys) { terminal_.type(keys); }

  tests::TypedTerminal terminal_{[] { std::_Exit(say_lines()); }};
};

TEST_F(TypedLines, AreEditedAndComeBackFromTheHistory) {
  type("hello\r");
  expect_line("hello");
  type("ab\033[D\033[DX\033[C\033[3~\r");  // The keys are left, left, X, right, delete.
  expect_line("Xa");
  type("one two\x17three\r");  // Ctrl-W
  expect_line("one three");
  type("\033[A\033[A\033[A!\r");
  expect_line("hello!");
  type("d\xC3\xA9j\xC3\xA0 \xE2\x82\xAC\x7F\x7F\x7F\r");  // Backspace removes characters, not bytes.
  expect_line("d\xC3\xA9j");
}

TEST_F(TypedLines, TakeAPasteOfManyLinesAsOneText) {
  type("see: \033[200~one\rtwo\rthree\033[201~");
  terminal_.expect("three");
  type(" end\r");
  terminal_.expect("22 bytes 'see: one\r\ntwo\r\nthree end'");
  type("a\033\rb\r");  // Alt-Enter
  terminal_.expect("3 bytes 'a\r\nb'");
}

TEST_F(TypedLines, HaveAnyLength) {
  type(std::string(10000, 'x'));
  type("\r");
  terminal_.expect("10000 bytes 'xxx");
  type("\033[200~" + std::string(30000, 'y') + "\033[201~\r");
  terminal_.expect("30000 bytes 'yyy");
  type("\033[200~" + std::string(70000, 'z') + "\033[201~");
  terminal_.expect("too long");
  type("still here\r");
  expect_line("still here");
}

TEST_F(TypedLines, AreClearedByCtrlCAndEndedByCtrlD) {
  type("never sent");
  terminal_.expect("never sent");
  type("\x03");
  terminal_.expect("given up 'never sent'");
  type("sent\r");
  expect_line("sent");
  EXPECT_FALSE(terminal_.takes_whole_lines());
  type("\x04");
  terminal_.expect("ended");
  EXPECT_EQ(terminal_.wait_for_end(), 0);
  EXPECT_TRUE(terminal_.takes_whole_lines()) << "the terminal is as it was";
}

TEST_F(TypedLines, LeaveTheTerminalAsItWasWhenASignalEndsThem) {
  EXPECT_FALSE(terminal_.takes_whole_lines());
  terminal_.signal(SIGTERM);
  const int status = terminal_.wait_for_end();
  EXPECT_TRUE(WIFSIGNALED(status) && WTERMSIG(status) == SIGTERM) << status;
  EXPECT_TRUE(terminal_.takes_whole_lines());
}

TEST_F(TypedLines, GoOnAfterCtrlZ) {
  type("half");
  terminal_.expect("half");
  type("\x1A");
  ASSERT_TRUE(terminal_.wait_for_stop());
  EXPECT_TRUE(terminal_.takes_whole_lines()) << "for the shell";
  terminal_.signal(SIGCONT);
  terminal_.expect("half");  // The line was drawn again.
  type(" a line\r");
  expect_line("half a line");
}

}  // namespace
}  // namespace brimful::cli
