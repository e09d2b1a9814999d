#include "batch/stream_file.h"

#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <fstream>
#include <thread>

#include "temporary_directory.h"

namespace brimful::batch {
namespace {

using ::testing::HasSubstr;
namespace fs = std::filesystem;

std::string content_of(const fs::path& path) {
  std::ifstream in(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(in), {}};
}

class StreamFile : public ::testing::Test {
 protected:
  [[nodiscard]] fs::path path(const char* name = "file") const { return directory_.path() / name; }
  [[nodiscard]] fs::path pipe() const {
    EXPECT_EQ(::mkfifo(path("pipe").c_str(), 0600), 0);
    return path("pipe");
  }
  /// Copies `stream` to the file `copy`; `stopped` is asked while nothing arrives.
  [[nodiscard]] Status keep(
      const fs::path& stream, const std::function<bool()>& stopped = [] { return false; }) const {
    return keep_stream(stream, path("copy"), stopped,
                       [](const std::function<Status()>& work) { return work(); });
  }

 private:
  tests::TemporaryDirectory directory_;
};

TEST_F(StreamFile, WhatCanBeReadOnlyOnceIsAStream) {
  EXPECT_TRUE(is_stream("-"));
  EXPECT_TRUE(is_stream("/dev/null"));
  EXPECT_TRUE(is_stream(pipe()));
  EXPECT_FALSE(is_stream(path("missing")));
  EXPECT_FALSE(is_stream(path().parent_path()));
  std::ofstream(path()) << "x";
  EXPECT_FALSE(is_stream(path()));
}

TEST_F(StreamFile, StandardStreamsHaveNamesForPeople) {
  EXPECT_EQ(input_name("-"), "standard input");
  EXPECT_EQ(output_name("-"), "standard output");
  EXPECT_EQ(input_name("a/b"), "a/b");
  EXPECT_EQ(output_name("a/b"), "a/b");
}

TEST_F(StreamFile, AStreamIsKeptToItsEnd) {
  const fs::path from = pipe();
  const std::string content = "one\n" + std::string(200'000, 'x') + std::string("\0\xff", 2);
  const std::jthread writer([&] { std::ofstream(from, std::ios::binary) << content; });
  const Status kept = keep(from);
  ASSERT_TRUE(kept) << kept.error().message;
  EXPECT_EQ(content_of(path("copy")), content);
  EXPECT_EQ(fs::status(path("copy")).permissions(), fs::perms::owner_read | fs::perms::owner_write);
}

TEST_F(StreamFile, ALongerCopyOfEarlierIsReplaced) {
  std::ofstream(path("copy")) << "something of an earlier run";
  ASSERT_TRUE(keep("/dev/null"));
  EXPECT_EQ(content_of(path("copy")), "");
}

TEST_F(StreamFile, AStoppedCopyIsRemoved) {
  const Status kept = keep("/dev/zero", [asked = 0]() mutable { return ++asked > 3; });
  ASSERT_FALSE(kept);
  EXPECT_EQ(kept.error().code, ErrorCode::kCancelled);
  EXPECT_FALSE(fs::exists(path("copy")));
}

TEST_F(StreamFile, TheCopyOfAnotherProcessIsLeftAlone) {
  std::ofstream(path("copy")) << "theirs";
  const int theirs = ::open(path("copy").c_str(), O_RDWR | O_CLOEXEC);
  ASSERT_EQ(::flock(theirs, LOCK_EX), 0);
  const Status kept = keep("/dev/null");
  ::close(theirs);
  ASSERT_FALSE(kept);
  EXPECT_EQ(kept.error().code, ErrorCode::kInvalidArgument);
  EXPECT_EQ(content_of(path("copy")), "theirs");
}

TEST_F(StreamFile, ACopyDoesNotFollowALink) {
  std::ofstream(path("target")) << "mine";
  fs::create_symlink(path("target"), path("copy"));
  const Status kept = keep("/dev/null");
  ASSERT_FALSE(kept);
  EXPECT_EQ(kept.error().code, ErrorCode::kIo);
  EXPECT_EQ(content_of(path("target")), "mine");
}

TEST_F(StreamFile, AStreamThatIsMissingIsNamed) {
  const Status kept = keep(path("missing"));
  ASSERT_FALSE(kept);
  EXPECT_THAT(kept.error().message, HasSubstr(path("missing").string()));
  EXPECT_FALSE(fs::exists(path("copy")));
}

TEST_F(StreamFile, AMovedFileReplacesTheOneThatWasThere) {
  std::ofstream(path("a")) << "new";
  std::ofstream(path("b")) << "old";
  ASSERT_TRUE(move_file(path("a"), path("b")));
  EXPECT_EQ(content_of(path("b")), "new");
  const Status again = move_file(path("a"), path("b"));
  ASSERT_FALSE(again);
  EXPECT_EQ(again.error().code, ErrorCode::kIo);
}

TEST_F(StreamFile, LinesReachTheStreamWhenTheyAreFlushed) {
  std::ofstream(path()) << "";
  auto out = StreamWriter::open(path()).value();
  ASSERT_TRUE(out.write_line("one"));
  ASSERT_TRUE(out.write_line(""));
  StreamWriter moved(std::move(out));
  ASSERT_TRUE(moved.flush());
  EXPECT_EQ(content_of(path()), "one\n\n");
  ASSERT_TRUE(moved.write_line(std::string(100'000, 'x')));
  EXPECT_EQ(fs::file_size(path()), 100'006U) << "more than is buffered is written at once";
}

TEST_F(StreamFile, AFullDiskBehindAStreamIsAnErrorThatCannotBeWaitedFor) {
  auto out = StreamWriter::open("/dev/full").value();
  ASSERT_TRUE(out.write_line("one"));
  const Status flushed = out.flush();
  ASSERT_FALSE(flushed);
  EXPECT_EQ(flushed.error().code, ErrorCode::kIo);
  EXPECT_THAT(flushed.error().message, HasSubstr("/dev/full"));
  EXPECT_TRUE(out.flush()) << "what the stream did not take is gone";
}

TEST_F(StreamFile, AnOutputThatIsMissingIsNamed) {
  const auto out = StreamWriter::open(path("missing"));
  ASSERT_FALSE(out);
  EXPECT_EQ(out.error().code, ErrorCode::kIo);
  EXPECT_THAT(out.error().message, HasSubstr(path("missing").string()));
}

}  // namespace
}  // namespace brimful::batch
