#include "eval/logits_file.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <fstream>

#include "eval/log_probabilities.h"
#include "temporary_directory.h"

namespace brimful::eval {
namespace {

namespace fs = std::filesystem;
using testing::HasSubstr;

class LogitsFile : public testing::Test {
 protected:
  LogitsFile() { header_.tokens = {1, 2, 3, 4, 5, 6, 7, 8, 9, 0, 1, 2, 3, 4, 5, 6}; }
  [[nodiscard]] std::vector<std::uint16_t> words(std::uint16_t first) const {
    std::vector<std::uint16_t> out(scored_tokens(header_.chunk_tokens) * packed_words(header_.vocabulary));
    for (std::size_t i = 0; i < out.size(); ++i) out[i] = static_cast<std::uint16_t>(first + i);
    return out;
  }
  void write_whole() {
    auto writer = LogitsWriter::open(file_, header_, 0);
    ASSERT_TRUE(writer) << writer.error().message;
    ASSERT_TRUE(writer->append(words(100)));
    ASSERT_TRUE(writer->append(words(200)));
    ASSERT_TRUE(writer->finish());
  }
  void expect_corrupt(const std::string& why) const {
    const auto reader = LogitsReader::open(file_);
    ASSERT_FALSE(reader);
    EXPECT_EQ(reader.error().code, ErrorCode::kCorrupt);
    EXPECT_THAT(reader.error().message, HasSubstr(why));
  }
  void overwrite(std::streamoff at, std::int32_t number) const {
    std::fstream out(file_, std::ios::binary | std::ios::in | std::ios::out);
    out.seekp(at).write(reinterpret_cast<const char*>(&number), sizeof number);
  }

  const tests::TemporaryDirectory directory_;
  const fs::path file_ = directory_.path() / "logits";
  LogitsHeader header_{.chunk_tokens = 8, .vocabulary = 10, .chunks = 2};
};

TEST_F(LogitsFile, IsReadAsItWasWritten) {
  write_whole();
  EXPECT_EQ(fs::file_size(file_), header_.file_bytes().value);
  EXPECT_FALSE(fs::exists(LogitsWriter::partial_name(file_)));
  EXPECT_TRUE(LogitsReader::is_one(file_));
  auto reader = LogitsReader::open(file_);
  ASSERT_TRUE(reader) << reader.error().message;
  EXPECT_EQ(reader->header(), header_);
  std::vector<std::uint16_t> row(packed_words(10));
  ASSERT_TRUE(reader->read(1, 2, row));
  EXPECT_EQ(row.front(), 200 + 2 * row.size());
}

TEST_F(LogitsFile, GoesOnBehindTheChunksThatAreDone) {
  write_whole();
  const auto size = fs::file_size(file_);
  std::string whole(size, '\0');
  std::ifstream(file_).read(whole.data(), static_cast<std::streamsize>(size));
  {
    auto writer = LogitsWriter::open(file_, header_, 0);
    ASSERT_TRUE(writer);
    ASSERT_TRUE(writer->append(words(100)));
    ASSERT_TRUE(
        writer->append(std::span<const std::uint16_t>(words(7)).first(5)));  // a chunk that was cut off
  }
  auto writer = LogitsWriter::open(file_, header_, 1);
  ASSERT_TRUE(writer) << writer.error().message;
  ASSERT_TRUE(writer->append(words(200)));
  ASSERT_TRUE(writer->finish());
  std::string resumed(size, '\0');
  std::ifstream(file_).read(resumed.data(), static_cast<std::streamsize>(size));
  EXPECT_TRUE(resumed == whole);
}

TEST_F(LogitsFile, OfAnotherTextIsNotContinued) {
  { ASSERT_TRUE(LogitsWriter::open(file_, header_, 0)); }
  header_.tokens[3] = 0;
  const auto writer = LogitsWriter::open(file_, header_, 1);
  ASSERT_FALSE(writer);
  EXPECT_THAT(writer.error().message, HasSubstr("another text or model"));
}

TEST_F(LogitsFile, ThatIsDamagedIsRefusedInBoundedMemory) {
  write_whole();
  overwrite(8, 0x7FFFFFFF);
  expect_corrupt("are impossible");
  overwrite(8, 8);
  overwrite(12, -1);
  expect_corrupt("are impossible");
  overwrite(12, 10);
  overwrite(16, 100'000'000);
  expect_corrupt("ends inside its header");
  overwrite(16, 3);
  expect_corrupt("not in its vocabulary");  // what follows the tokens was read as tokens
  overwrite(16, 2);
  overwrite(20, 10);
  expect_corrupt("token 10 is not in its vocabulary of 10");
  overwrite(20, 1);
  fs::resize_file(file_, header_.file_bytes().value - 1);
  expect_corrupt("not written to its end");
  fs::resize_file(file_, 10);
  expect_corrupt("ends inside its header");
  fs::resize_file(file_, 3);
  expect_corrupt("no file of logits");
  EXPECT_FALSE(LogitsReader::open(directory_.path()));
}

}  // namespace
}  // namespace brimful::eval
