#include "batch/line_file.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>

#include <fstream>

#include "temporary_directory.h"

namespace brimful::batch {
namespace {

using ::testing::ElementsAre;
using ::testing::FieldsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
namespace fs = std::filesystem;

std::string content_of(const fs::path& path) {
  std::ifstream in(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(in), {}};
}

class LineFile : public ::testing::Test {
 protected:
  struct Seen {
    std::int64_t number;
    std::uint64_t offset;
    std::string text;
    bool too_long;
  };
  fs::path write(std::string_view content) {
    std::ofstream(path(), std::ios::binary | std::ios::trunc) << content;
    return path();
  }
  std::vector<Seen> lines(std::string_view content, std::size_t longest = SIZE_MAX) {
    std::vector<Seen> out;
    const auto read = read_lines(
        write(content),
        [&](const LineReader::Line& line) {
          out.push_back({line.number, line.offset, std::string(line.text), line.too_long});
          return Status{};
        },
        longest);
    EXPECT_TRUE(read) << read.error().message;
    return out;
  }
  std::string fingerprint(std::string_view content) {
    return read_lines(write(content), [](const auto&) { return Status{}; }).value();
  }
  [[nodiscard]] fs::path path(const char* name = "file") const { return directory_.path() / name; }

 private:
  tests::TemporaryDirectory directory_;
};

TEST_F(LineFile, BlankLinesCountAndAreNotGiven) {
  EXPECT_THAT(lines("a\n\n \t\r\nbc\n"),
              ElementsAre(FieldsAre(1, 0U, "a", false), FieldsAre(4, 7U, "bc", false)));
  EXPECT_THAT(lines(""), IsEmpty());
  EXPECT_THAT(lines("\n\n"), IsEmpty());
}

TEST_F(LineFile, TheLastLineNeedsNoNewline) {
  EXPECT_THAT(lines("a\nbc"), ElementsAre(FieldsAre(1, 0U, "a", false), FieldsAre(2, 2U, "bc", false)));
}

TEST_F(LineFile, EveryByteIsKept) {
  const std::string odd("\xff\0\xfe\r", 4);
  EXPECT_THAT(lines(odd + "\nb"), ElementsAre(FieldsAre(1, 0U, odd, false), FieldsAre(2, 5U, "b", false)));
}

TEST_F(LineFile, ALineThatIsTooLongIsNotKeptAndTheNextOneIs) {
  EXPECT_THAT(lines("abc\nabcd\n     \nx\n", 3),
              ElementsAre(FieldsAre(1, 0U, "abc", false), FieldsAre(2, 4U, "", true),
                          FieldsAre(3, 9U, "", true), FieldsAre(4, 15U, "x", false)));
}

TEST_F(LineFile, TheFingerprintFollowsEachByte) {
  const std::string before = fingerprint("a\nb\n");
  EXPECT_EQ(fingerprint("a\nb\n"), before);
  for (const char* const other : {"a\nc\n", "a\n\nb\n", "ab\n", "a\nb\n\n", "a\nb \n", ""})
    EXPECT_NE(fingerprint(other), before) << other;
}

TEST_F(LineFile, AnErrorEndsTheReading) {
  int taken = 0;
  const auto read = read_lines(write("a\nb\nc\n"), [&](const auto&) -> Status {
    return ++taken == 2 ? fail(ErrorCode::kCorrupt, "enough") : Status{};
  });
  ASSERT_FALSE(read);
  EXPECT_EQ(read.error().message, "enough");
  EXPECT_EQ(taken, 2);
}

TEST_F(LineFile, AFileThatIsMissingOrAFolderIsNamed) {
  const auto missing = LineReader::open(path("missing"));
  ASSERT_FALSE(missing);
  EXPECT_EQ(missing.error().code, ErrorCode::kNotFound);
  EXPECT_THAT(missing.error().message, HasSubstr(path("missing").string()));
  const auto folder = LineReader::open(path().parent_path());
  ASSERT_FALSE(folder);
  EXPECT_THAT(folder.error().message, HasSubstr("folder"));
}

TEST_F(LineFile, APartIsReadExactlyOrNotAtAll) {
  write("0123456789");
  EXPECT_EQ(read_at(path(), 3, 4).value(), "3456");
  EXPECT_EQ(read_at(path(), 10, 0).value(), "");
  const auto cut = read_at(path(), 7, 4);
  ASSERT_FALSE(cut) << "the file was truncated";
  EXPECT_EQ(cut.error().code, ErrorCode::kIo);
  EXPECT_FALSE(read_at(path("missing"), 0, 1));
}

TEST_F(LineFile, OnlyAFileThatExistsIsNotAbsent) {
  EXPECT_TRUE(check_absent(path()));
  EXPECT_TRUE(check_absent("/dev/null"));
  EXPECT_TRUE(check_absent("-"));
  write("");
  const Status there = check_absent(path());
  ASSERT_FALSE(there);
  EXPECT_EQ(there.error().code, ErrorCode::kInvalidArgument);
  EXPECT_THAT(there.error().message, HasSubstr(path().string()));
}

TEST_F(LineFile, AWholeFileHasItsNameOnlyWhenItIsComplete) {
  {
    auto file = WholeFile::create(path()).value();
    ASSERT_TRUE(file.write_line("one"));
    ASSERT_TRUE(file.write(std::string(100'000, 'x')));  // more than is buffered
    EXPECT_FALSE(fs::exists(path()));
    ASSERT_TRUE(file.commit());
  }
  EXPECT_EQ(content_of(path()), "one\n" + std::string(100'000, 'x'));
  EXPECT_FALSE(fs::exists(path("file.part")));
}

TEST_F(LineFile, WithoutCommitTheOldContentStays) {
  write("old");
  {
    auto file = WholeFile::create(path()).value();
    ASSERT_TRUE(file.write_line("new"));
    const WholeFile moved(std::move(file));
    EXPECT_TRUE(fs::exists(path("file.part")));
  }
  EXPECT_EQ(content_of(path()), "old");
  EXPECT_FALSE(fs::exists(path("file.part")));
}

TEST_F(LineFile, AnEarlierPartThatACrashLeftIsReplaced) {
  std::ofstream(path("file.part")) << "half of something long";
  auto file = WholeFile::create(path()).value();
  ASSERT_TRUE(file.write("x"));
  ASSERT_TRUE(file.commit());
  EXPECT_EQ(content_of(path()), "x");
}

TEST_F(LineFile, AWholeFileCanBeForItsUserAlone) {
  auto file = WholeFile::create(path(), 0600).value();
  ASSERT_TRUE(file.commit());
  struct stat info {};
  ASSERT_EQ(::stat(path().c_str(), &info), 0);
  EXPECT_EQ(info.st_mode & 0777U, 0600U);
}

TEST_F(LineFile, AFolderThatIsMissingIsAnError) {
  const auto file = WholeFile::create(path("missing") / "file");
  ASSERT_FALSE(file);
  EXPECT_EQ(file.error().code, ErrorCode::kIo);
  EXPECT_THAT(file.error().message, HasSubstr((path("missing") / "file").string()));
}

}  // namespace
}  // namespace brimful::batch
