#include "base/standard_output.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <array>
#include <csignal>
#include <cstdio>
#include <string>
#include <thread>

namespace brimful {
namespace {

/// As long as it exists, standard output is another file.
class RedirectedOutput {
 public:
  explicit RedirectedOutput(int to) {
    std::fflush(stdout);
    kept_ = ::dup(STDOUT_FILENO);
    if (to >= 0) {
      ::dup2(to, STDOUT_FILENO);
      ::close(to);
    } else {
      ::close(STDOUT_FILENO);
    }
  }
  ~RedirectedOutput() {
    ::dup2(kept_, STDOUT_FILENO);
    ::close(kept_);
  }
  RedirectedOutput(const RedirectedOutput&) = delete;
  RedirectedOutput& operator=(const RedirectedOutput&) = delete;

 private:
  int kept_ = -1;
};

Status write_to(int file, std::string_view text) {
  const RedirectedOutput redirected(file);
  return write_standard_output(text);
}

TEST(StandardOutput, AFullDiskIsAnErrorThatSaysSo) {
  const Status status = write_to(::open("/dev/full", O_WRONLY), "a line\n");
  ASSERT_FALSE(status);
  EXPECT_EQ(status.error().code, ErrorCode::kNoSpace);
  EXPECT_NE(status.error().message.find("stdout"), std::string::npos) << status.error().message;
}

TEST(StandardOutput, ThatIsClosedIsAnError) {
  const Status status = write_to(-1, "a line\n");
  ASSERT_FALSE(status);
  EXPECT_EQ(status.error().code, ErrorCode::kIo);
}

TEST(StandardOutput, AReaderThatHasEnoughIsNoError) {
  std::array<int, 2> pipe{};
  ASSERT_EQ(::pipe(pipe.data()), 0);
  ::close(pipe[0]);
  const auto before = std::signal(SIGPIPE, SIG_IGN);
  EXPECT_TRUE(write_to(pipe[1], "a line\n"));
  std::signal(SIGPIPE, before);
}

TEST(StandardOutput, AllOfALongTextArrivesThroughAPipeThatDoesNotBlock) {
  std::array<int, 2> pipe{};
  ASSERT_EQ(::pipe(pipe.data()), 0);
  ASSERT_EQ(::fcntl(pipe[1], F_SETFL, O_NONBLOCK), 0);
  const std::string text(1 << 20, 'x');  // This text is longer than a pipe's buffer.
  std::string read;
  std::thread reader([&] {
    std::array<char, 4096> piece{};
    for (ssize_t got = 0; (got = ::read(pipe[0], piece.data(), piece.size())) > 0;)
      read.append(piece.data(), static_cast<std::size_t>(got));
  });
  const Status status = write_to(pipe[1], text);
  reader.join();
  ::close(pipe[0]);
  EXPECT_TRUE(status) << status.error().message;
  EXPECT_EQ(read.size(), text.size());
}

}  // namespace
}  // namespace brimful
