#include "model/gguf_reader.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <limits>
#include <random>

#include "model/gguf_test_file.h"

namespace brimful::model {
namespace {

using ::testing::AllOf;
using testing::ByteList;
using ::testing::HasSubstr;
using testing::small_model;
using testing::TestFile;

Result<std::variant<GgufHeader, NeedMore>> parse(const TestFile& file) {
  const auto bytes = file.bytes();
  return parse_gguf(bytes, bytes.size());
}

void expect_refused(const TestFile& file, ErrorCode code, const std::string& message) {
  const auto result = parse(file);
  ASSERT_FALSE(result) << "accepted; expected: " << message;
  EXPECT_EQ(to_string(result.error().code), to_string(code)) << result.error().message;
  EXPECT_THAT(result.error().message, HasSubstr(message));
  EXPECT_EQ(result.error().message.find('\n'), std::string::npos);
}

TEST(GgufReader, ReadsKeysAndTensors) {
  const auto result = parse(small_model());
  ASSERT_TRUE(result) << result.error().message;
  const auto& header = std::get<GgufHeader>(*result);
  EXPECT_EQ(header.keys.size(), 11U);
  ASSERT_EQ(header.tensors.size(), 2U);
  EXPECT_EQ(header.tensors[0].offset, header.size);
  EXPECT_EQ(header.tensors[0].bytes.value, 64U * 4 * 4);
  EXPECT_EQ(header.tensors[1].offset, header.size + 1024);
  EXPECT_EQ(header.tensors[1].bytes.value, 64U * 64 / 32 * 34);
}

TEST(GgufReader, AcceptsVersionTwo) {
  TestFile file = small_model();
  file.version = 2;
  EXPECT_TRUE(parse(file));
}

TEST(GgufReader, AsksForMoreBytesUntilItHasTheHeader) {
  const auto bytes = small_model().bytes();
  std::size_t given = 0;
  for (int rounds = 0; rounds < 1000; ++rounds) {
    const auto result = parse_gguf(std::span(bytes).first(given), bytes.size());
    ASSERT_TRUE(result) << result.error().message;
    const auto* need = std::get_if<NeedMore>(&*result);
    if (need == nullptr) return;
    ASSERT_GT(need->bytes, given);
    ASSERT_LE(need->bytes, bytes.size());
    given = static_cast<std::size_t>(need->bytes);
  }
  FAIL() << "no progress";
}

TEST(GgufReader, RefusesAFileCutAnywhere) {
  const auto bytes = small_model().bytes();
  for (std::size_t size = 0; size < bytes.size() - 32; ++size) {
    const auto result = parse_gguf(std::span(bytes).first(size), size);
    ASSERT_FALSE(result) << "accepted at " << size << " of " << bytes.size();
  }
}

TEST(GgufReader, SaysWhichTensorIsCut) {
  const auto bytes = small_model().bytes();
  const auto result = parse_gguf(bytes, bytes.size() - 64);
  ASSERT_FALSE(result);
  EXPECT_EQ(result.error().message,
            "tensor 'blk.0.attn_q.weight' ends 64 bytes past the end of the file: the "
            "download is incomplete; fetch it again");
}

TEST(GgufReader, WithoutWeightsAcceptsAFileCutAnywhereAfterItsHeader) {
  const auto bytes = small_model().bytes();
  const auto whole = parse_gguf(bytes, bytes.size());
  ASSERT_TRUE(whole);
  const auto& expected = std::get<GgufHeader>(*whole);
  EXPECT_EQ(expected.end(), bytes.size());
  for (std::size_t size = small_model().header().size(); size < bytes.size(); ++size) {
    const auto result = parse_gguf(std::span(bytes).first(size), size, Weights::kMayBeMissing);
    ASSERT_TRUE(result) << result.error().message;
    const auto& header = std::get<GgufHeader>(*result);
    EXPECT_EQ(header.size, expected.size);
    EXPECT_EQ(header.end(), expected.end());
    EXPECT_EQ(header.tensors.back().offset, expected.tensors.back().offset);
  }
}

TEST(GgufReader, WithoutWeightsSaysHowMuchOfACutHeaderIsMissing) {
  const auto bytes = small_model().bytes();
  const std::size_t header = small_model().header().size();
  for (std::size_t size = 1; size < header; ++size) {
    const auto result = parse_gguf(std::span(bytes).first(size), size, Weights::kMayBeMissing);
    ASSERT_FALSE(result) << "accepted at " << size << " of " << header;
    EXPECT_EQ(result.error().code, ErrorCode::kCorrupt);
    EXPECT_THAT(result.error().message, AllOf(HasSubstr("the header goes on for at least "),
                                              HasSubstr(" more bytes: fetch them too")));
  }
  const auto result = parse_gguf(bytes, header - 3, Weights::kMayBeMissing);
  EXPECT_THAT(result.error().message, HasSubstr("tensor 'blk.0.attn_q.weight'"));
  EXPECT_THAT(result.error().message, HasSubstr("for at least 3 more bytes"));
}

TEST(GgufReader, WithoutWeightsRefusesAHeaderThatCannotBe) {
  const auto expect = [](const TestFile& file, const std::string& message) {
    const auto bytes = file.header();
    const auto result = parse_gguf(bytes, bytes.size(), Weights::kMayBeMissing);
    ASSERT_FALSE(result) << "accepted; expected: " << message;
    EXPECT_THAT(result.error().message, HasSubstr(message));
  };
  TestFile tensors = small_model();
  tensors.extra_tensors = 1 << 24;
  expect(tensors, "tensors; at most");
  for (const std::uint64_t count : {std::uint64_t{1} << 30, std::uint64_t{1} << 61, UINT64_MAX}) {
    const ByteList array =
        ByteList().put(std::int32_t{GGUF_TYPE_ARRAY}).put(std::int32_t{GGUF_TYPE_UINT64}).put(count);
    expect(small_model().entry("a", array), "the header is larger than 256");
    const ByteList text = ByteList().put(std::int32_t{GGUF_TYPE_STRING}).put(count);
    expect(small_model().entry("a", text), "the header is larger than 256");
  }
  TestFile beyond = small_model();
  beyond.tensor("b", {std::int64_t{1} << 60}).tensor("c", {std::int64_t{1} << 60});
  expect(beyond, "tensor 'c' ends beyond any file");
  TestFile elsewhere = small_model();
  elsewhere.last_tensor().offset += 32;
  expect(elsewhere, "of the data instead of 1024");
}

TEST(GgufReader, SurvivesRandomDamage) {
  const auto good = small_model().bytes();
  std::mt19937 random(1);
  for (int i = 0; i < 20000; ++i) {
    auto bytes = good;
    for (int n = 0; n < 4; ++n)
      bytes[random() % 700] = static_cast<std::byte>(random() % 3 == 0 ? 0xFF : random() % 256);
    for (const Weights weights : {Weights::kRequired, Weights::kMayBeMissing}) {
      const auto result = parse_gguf(bytes, bytes.size(), weights);
      if (!result) {
        EXPECT_FALSE(result.error().message.empty());
      }
    }
  }
}

TEST(GgufReader, RefusesWrongMagicAndVersions) {
  TestFile file = small_model();
  file.magic = "GGML";
  expect_refused(file, ErrorCode::kCorrupt, "not a GGUF model");
  file = small_model();
  file.magic = "\x1b[2J";
  expect_refused(file, ErrorCode::kCorrupt, "'␛[2J'");
  for (const std::uint32_t version : {0U, 1U, 4U, 1000U}) {
    file = small_model();
    file.version = version;
    expect_refused(file, ErrorCode::kUnsupported, "GGUF version");
  }
  file.version = 0x03000000;
  expect_refused(file, ErrorCode::kUnsupported, "big-endian");
}

TEST(GgufReader, RefusesCountsThatTheFileCannotHold) {
  for (const std::int64_t extra : {std::int64_t{1} << 20, std::int64_t{1} << 58,
                                   std::numeric_limits<std::int64_t>::max() - 8, std::int64_t{-100}}) {
    TestFile file = small_model();
    file.extra_tensors = extra;
    expect_refused(file, ErrorCode::kCorrupt, "tensors, more than its");
    file = small_model();
    file.extra_keys = extra;
    expect_refused(file, ErrorCode::kCorrupt, "keys, more than its");
  }
}

TEST(GgufReader, RefusesMoreTensorsThanGgmlCanCompare) {
  TestFile file = small_model();
  file.extra_tensors = 100000;
  const auto bytes = file.bytes();
  const auto result = parse_gguf(bytes, 1ULL << 40);
  ASSERT_FALSE(result);
  EXPECT_EQ(result.error().code, ErrorCode::kUnsupported);
}

TEST(GgufReader, RefusesOneCountTooMany) {
  TestFile file = small_model();
  file.extra_keys = 1;
  EXPECT_FALSE(parse(file));
  file = small_model();
  file.extra_tensors = 1;
  EXPECT_FALSE(parse(file));
}

TEST(GgufReader, RefusesStringsLongerThanTheFile) {
  for (const std::uint64_t length :
       {std::uint64_t{1} << 32, std::uint64_t{1} << 62, UINT64_MAX, UINT64_MAX - 7}) {
    TestFile file = small_model();
    file.entry("general.name", ByteList().put(std::int32_t{GGUF_TYPE_STRING}).put(length));
    expect_refused(file, ErrorCode::kCorrupt, "ends inside key 'general.name'");
  }
}

TEST(GgufReader, RefusesArraysLongerThanTheFile) {
  for (const std::int32_t type : {GGUF_TYPE_UINT8, GGUF_TYPE_FLOAT64, GGUF_TYPE_STRING}) {
    TestFile file = small_model();
    const auto count = (UINT64_MAX / 8) + 2;
    file.entry("a", ByteList().put(std::int32_t{GGUF_TYPE_ARRAY}).put(type).put(count));
    expect_refused(file, ErrorCode::kCorrupt, "claims");
  }
}

TEST(GgufReader, RefusesHeadersThatWouldFillTheMemory) {
  TestFile file;
  file.entry("a", ByteList().put(std::int32_t{GGUF_TYPE_STRING}).put(kMaxHeader.value));
  const auto bytes = file.bytes();
  const auto result = parse_gguf(bytes, 1ULL << 40);
  ASSERT_FALSE(result);
  EXPECT_THAT(result.error().message, HasSubstr("the header is larger than"));
}

TEST(GgufReader, RefusesUnknownAndNestedTypes) {
  TestFile file = small_model();
  file.entry("a", ByteList().put(std::int32_t{13}).put(std::uint32_t{0}));
  expect_refused(file, ErrorCode::kCorrupt, "unknown type 13");
  file.entry("a", ByteList().put(std::int32_t{-1}).put(std::uint32_t{0}));
  expect_refused(file, ErrorCode::kCorrupt, "unknown type -1");
  file.entry(
      "a",
      ByteList().put(std::int32_t{GGUF_TYPE_ARRAY}).put(std::int32_t{GGUF_TYPE_ARRAY}).put(std::uint64_t{0}));
  expect_refused(file, ErrorCode::kUnsupported, "array of arrays");
}

TEST(GgufReader, RefusesBadKeys) {
  TestFile file = small_model();
  file.u32("", 1);
  expect_refused(file, ErrorCode::kCorrupt, "a key that is empty");
  file = small_model();
  file.u32(std::string_view("a\0b", 3), 1);
  expect_refused(file, ErrorCode::kCorrupt, "a key that is empty, too long or not text");
  file = small_model();
  file.u32(std::string(65536, 'k'), 1);
  expect_refused(file, ErrorCode::kCorrupt, "too long");
  file = small_model();
  file.repeat("general.name", ByteList().put(std::int32_t{GGUF_TYPE_UINT32}).put(std::uint32_t{1}));
  expect_refused(file, ErrorCode::kCorrupt, "key 'general.name' twice");
}

TEST(GgufReader, RefusesBadTensorNames) {
  for (const std::string& name : {std::string(), std::string(64, 'n'), std::string("a\0b", 3)}) {
    TestFile file = small_model();
    file.tensor(name, {32});
    expect_refused(file, ErrorCode::kCorrupt, "a tensor name that is empty");
  }
  TestFile file = small_model();
  file.tensor(std::string(63, 'n'), {32});
  EXPECT_TRUE(parse(file));
  file.tensor("token_embd.weight", {32});
  expect_refused(file, ErrorCode::kCorrupt, "tensor 'token_embd.weight' twice");
}

TEST(GgufReader, RefusesBadDimensions) {
  for (const std::uint32_t dimensions : {0U, 5U, 0xFFFFFFFFU}) {
    TestFile file = small_model();
    file.last_tensor().dimensions = dimensions;
    expect_refused(file, ErrorCode::kCorrupt, "dimensions, not 1 to 4");
  }
  for (const std::int64_t size :
       {std::int64_t{0}, std::int64_t{-32}, std::numeric_limits<std::int64_t>::min()}) {
    TestFile file = small_model();
    file.last_tensor().shape[1] = size;
    expect_refused(file, ErrorCode::kCorrupt, "a dimension of");
  }
}

TEST(GgufReader, RefusesSizesThatOverflow) {
  const std::int64_t big = std::int64_t{1} << 32;
  TestFile file = small_model();
  file.last_tensor() = {"t", 2, {big, big}, GGML_TYPE_Q8_0, 1024};
  expect_refused(file, ErrorCode::kCorrupt, "more elements than can be counted");
  // The number of elements fits into 63 bits, but ggml's parser refuses it. Without the check, libllama
  // would be given a file that it cannot read.
  file.last_tensor() = {"t", 2, {64, 144115188075855616}, GGML_TYPE_Q4_0, 1024};
  expect_refused(file, ErrorCode::kCorrupt, "more elements than can be counted");
  file.last_tensor() = {"t", 1, {std::numeric_limits<std::int64_t>::max()}, GGML_TYPE_F32, 1024};
  expect_refused(file, ErrorCode::kCorrupt, "more elements than can be counted");
  file.last_tensor() = {"t", 2, {big, big / 4}, GGML_TYPE_F32, 1024};  // 2^62 elements, 2^64 bytes
  expect_refused(file, ErrorCode::kCorrupt, "more bytes than can be counted");
  file.last_tensor() = {"t", 1, {std::numeric_limits<std::int64_t>::max() / 32 * 32}, GGML_TYPE_Q8_0, 1024};
  expect_refused(file, ErrorCode::kCorrupt, "more bytes than can be counted");
  file.last_tensor() = {"t", 1, {std::int64_t{1} << 60}, GGML_TYPE_F32, 1024};
  expect_refused(file, ErrorCode::kCorrupt, "past the end of the file");
}

TEST(GgufReader, RefusesTypesThatNoFileHolds) {
  for (const std::int32_t type :
       {-1, 4, 5, 31, 36, 9, 15, static_cast<std::int32_t>(GGML_TYPE_COUNT), 1000}) {
    TestFile file = small_model();
    file.last_tensor().type = type;
    expect_refused(file, ErrorCode::kUnsupported, "which this build does not know");
  }
}

TEST(GgufReader, RefusesRowsThatAreNoWholeBlocks) {
  TestFile file = small_model();
  file.last_tensor().shape[0] = 65;
  expect_refused(file, ErrorCode::kCorrupt, "not a multiple of the 32 of a q8_0 block");
}

TEST(GgufReader, RefusesMisplacedTensors) {
  for (const std::uint64_t offset :
       {std::uint64_t{0}, std::uint64_t{1023}, std::uint64_t{1056}, UINT64_MAX - 31}) {
    TestFile file = small_model();
    file.last_tensor().offset = offset;
    expect_refused(file, ErrorCode::kCorrupt, "of the data instead of 1024");
  }
}

TEST(GgufReader, RefusesBadAlignments) {
  for (const std::uint32_t alignment : {0U, 3U, 48U, 1U << 21, 1U << 31, UINT32_MAX}) {
    TestFile file = small_model();
    file.u32("general.alignment", alignment);
    expect_refused(file, ErrorCode::kCorrupt, "not a power of two");
  }
  TestFile file = small_model();
  file.number("general.alignment", GGUF_TYPE_UINT64, std::uint64_t{32});
  expect_refused(file, ErrorCode::kCorrupt, "not a 32-bit unsigned number");
  file.numbers<std::uint32_t>("general.alignment", GGUF_TYPE_UINT32, {});
  expect_refused(file, ErrorCode::kCorrupt, "not a 32-bit unsigned number");
  file.text("general.alignment", "32");
  expect_refused(file, ErrorCode::kCorrupt, "not a 32-bit unsigned number");
}

TEST(GgufReader, AcceptsOtherAlignments) {
  for (const std::uint32_t alignment : {1U, 64U, 4096U}) {
    TestFile file;
    file.alignment = alignment;
    file.u32("general.alignment", alignment).tensor("a", {3}).tensor("b", {32}, GGML_TYPE_Q8_0);
    const auto result = parse(file);
    ASSERT_TRUE(result) << result.error().message;
    EXPECT_EQ(std::get<GgufHeader>(*result).size % alignment, 0U);
  }
}

TEST(GgufReader, RefusesAnEmptyFile) {
  const auto result = parse_gguf({}, 0);
  ASSERT_FALSE(result);
  EXPECT_THAT(result.error().message, HasSubstr("the file is empty"));
}

TEST(InQuotes, KeepsTextOnOneLineAndOffTheTerminal) {
  EXPECT_EQ(in_quotes("a\nb\x1b[0m"), "'a␊b␛[0m'");
  EXPECT_EQ(in_quotes(std::string(100, 'x')), "'" + std::string(80, 'x') + "...'");
}

}  // namespace
}  // namespace brimful::model
