// Files like those that broke other readers of GGUF, one test for each known weakness: the program refuses
// them in one line, before libllama sees them. What the reader says about each field alone is tested in
// src/model.

#include <gtest/gtest.h>

#include <limits>

#include "model/gguf_test_file.h"
#include "program_run.h"
#include "temporary_directory.h"

namespace brimful::tests {
namespace {

using model::testing::ByteList;
using model::testing::small_model;
using model::testing::TestFile;

constexpr std::int64_t kHuge = std::int64_t{1} << 62;

class KnownBadInput : public testing::Test {
 protected:
  /// The file, made `size` bytes long where that is given (a hole takes no room).
  void expect_file_refused(const TestFile& file, const std::string& text, std::uint64_t size = 0) {
    const auto path = directory_.path() / "bad.gguf";
    file.write(path);
    if (size > 0) std::filesystem::resize_file(path, size);
    constexpr std::chrono::seconds kSoon{10};
    expect_refused(run_brimful({"run", "-m", path, "-p", "a", "-n", "1", "--ram", "256MiB"}, nullptr, kSoon),
                   text);
    expect_refused(run_brimful({"show", path}, nullptr, kSoon), text);
  }

 private:
  TemporaryDirectory directory_;
};

TestFile with_tensor(TestFile::Tensor tensor) {
  TestFile file = small_model();
  file.tensor(tensor.name, {32});
  tensor.offset = file.last_tensor().offset;
  file.last_tensor() = std::move(tensor);
  return file;
}

// CVE-2024-21836
TEST_F(KnownBadInput, MoreTensorsThanTheFileHolds) {
  for (const std::int64_t extra :
       {std::int64_t{1} << 32, kHuge, std::numeric_limits<std::int64_t>::max() - 8}) {
    TestFile file = small_model();
    file.extra_tensors = extra;
    expect_file_refused(file, "tensors, more than its");
  }
  TestFile in_a_large_file = small_model();
  in_a_large_file.extra_tensors = 1 << 24;
  expect_file_refused(in_a_large_file, "tensors; at most", kGiB.value * 64);
}

// CVE-2024-23605
TEST_F(KnownBadInput, MoreKeysThanTheFileHolds) {
  for (const std::int64_t extra : {std::int64_t{1} << 32, kHuge, std::int64_t{-100}}) {
    TestFile file = small_model();
    file.extra_keys = extra;
    expect_file_refused(file, "keys, more than its");
  }
  TestFile in_a_large_file = small_model();
  in_a_large_file.extra_keys = 1 << 24;
  expect_file_refused(in_a_large_file, "keys; at most", kGiB.value * 64);
}

// CVE-2024-41130
TEST_F(KnownBadInput, AHeaderThatHoldsNothing) {
  expect_file_refused(TestFile(), "no 'general.architecture'");
  TestFile promises = TestFile();
  promises.extra_tensors = 1;
  expect_file_refused(promises, "claims 1 tensors, more than its");
  expect_file_refused(promises, "a tensor name that is empty", 4096);
}

// CVE-2025-49847
TEST_F(KnownBadInput, ATokenLongerThanLibllamaCanCopy) {
  TestFile file = small_model();
  file.texts("tokenizer.ggml.tokens", {"<unk>", "<s>", "</s>", std::string(1 << 20, 'a')});
  expect_file_refused(file, "token 3 is 1048576 bytes long");
}

// CVE-2025-52566
TEST_F(KnownBadInput, TokenNumbersThatAreNegative) {
  for (const std::uint32_t id : {0x80000000U, 0xFFFFFFFEU}) {
    TestFile file = small_model();
    file.remove("tokenizer.ggml.scores").remove("tokenizer.ggml.token_type");
    file.texts("tokenizer.ggml.tokens", {"a"}).u32("tokenizer.ggml.bos_token_id", id);
    expect_file_refused(file, "each prompt gets token " + std::to_string(id));
  }
  TestFile signed_number = small_model();
  expect_file_refused(signed_number.i32("tokenizer.ggml.bos_token_id", -2), "is not u32");
}

// CVE-2025-53630; the context's part is in bad_input_test.cpp
TEST_F(KnownBadInput, SizesWhoseSumWrapsAround) {
  TestFile file = small_model();
  for (const char* name : {"a", "b", "c", "d"}) file.tensor(name, {kHuge / 2}, GGML_TYPE_F16);
  expect_file_refused(file, "past the end of the file");
}

// CVE-2026-33298
TEST_F(KnownBadInput, ATensorWhoseBytesWrapAround) {
  expect_file_refused(with_tensor({"t", 1, {kHuge}, GGML_TYPE_F32, 0}), "more bytes than can be counted");
  expect_file_refused(with_tensor({"t", 2, {64, kHuge / 64}, GGML_TYPE_F64, 0}),
                      "more bytes than can be counted");
  expect_file_refused(with_tensor({"t", 4, {1 << 20, 1 << 20, 1 << 20, 1 << 20}, GGML_TYPE_F32, 0}),
                      "more elements than can be counted");
}

// ggml_row_size multiplies before it divides
TEST_F(KnownBadInput, ARowWhoseSizeWrapsAround) {
  const std::int64_t row = std::numeric_limits<std::int64_t>::max() / 256 * 256;
  for (const std::int32_t type : {GGML_TYPE_Q8_0, GGML_TYPE_Q4_K, GGML_TYPE_IQ1_S}) {
    expect_file_refused(with_tensor({"t", 1, {row}, type, 0}), "more bytes than can be counted");
  }
}

// CVE-2026-7482
TEST_F(KnownBadInput, ATensorPastTheEndOfTheFile) {
  const std::uint64_t size = small_model().bytes().size();
  expect_file_refused(small_model(), "ends 1 bytes past the end of the file", size - 1 - 32 + 32);
  TestFile longer = small_model();
  longer.last_tensor().shape[1] *= 2;
  expect_file_refused(longer, "past the end of the file");
  for (const std::uint64_t offset : {std::uint64_t{1} << 40, UINT64_MAX - 31, UINT64_MAX - 4095}) {
    TestFile elsewhere = small_model();
    elsewhere.last_tensor().offset = offset;
    expect_file_refused(elsewhere, "of the data instead of 1024");
  }
}

TEST_F(KnownBadInput, ADimensionOfZero) {
  for (const std::int64_t size :
       {std::int64_t{0}, std::int64_t{-1}, std::numeric_limits<std::int64_t>::min()}) {
    expect_file_refused(with_tensor({"t", 2, {32, size}, GGML_TYPE_F32, 0}), "has a dimension of");
  }
}

TEST_F(KnownBadInput, DimensionsWithoutNumber) {
  for (const std::uint32_t dimensions : {0xFFFFFFFFU, 0U, 5U}) {
    expect_file_refused(with_tensor({"t", dimensions, {32}, GGML_TYPE_F32, 0}), "dimensions, not 1 to 4");
  }
}

TEST_F(KnownBadInput, AnAlignmentThatIsNone) {
  TestFile file = small_model();
  expect_file_refused(file.u32("general.alignment", 1U << 31), "general.alignment is 2147483648");
  expect_file_refused(file.u32("general.alignment", 0), "general.alignment is 0");
  expect_file_refused(file.u32("general.alignment", 33), "general.alignment is 33");
  expect_file_refused(file.number("general.alignment", GGUF_TYPE_UINT64, std::uint64_t{32}),
                      "not a 32-bit unsigned");
  expect_file_refused(file.f32("general.alignment", 32), "not a 32-bit unsigned");
  expect_file_refused(file.text("general.alignment", "32"), "not a 32-bit unsigned");
  expect_file_refused(file.numbers<std::uint32_t>("general.alignment", GGUF_TYPE_UINT32, {32}),
                      "not a 32-bit unsigned");
}

TEST_F(KnownBadInput, ScoresThatAreNoFloats) {
  TestFile file = small_model();
  file.numbers<std::int8_t>("tokenizer.ggml.scores", GGUF_TYPE_INT8, {0, 0, 0, 0});
  expect_file_refused(file, "'tokenizer.ggml.scores' is not an array of f32");
}

TEST_F(KnownBadInput, NamesThatAreEmptyOrThereTwice) {
  const ByteList number = ByteList().put(std::int32_t{GGUF_TYPE_UINT32}).put(std::uint32_t{1});
  TestFile empty_key = small_model();
  expect_file_refused(empty_key.repeat("", number), "a key that is empty");
  TestFile key_twice = small_model();
  expect_file_refused(key_twice.repeat("general.name", number), "key 'general.name' twice");
  TestFile empty_tensor = small_model();
  expect_file_refused(empty_tensor.tensor("", {32}), "a tensor name that is empty");
  TestFile tensor_twice = small_model();
  expect_file_refused(tensor_twice.tensor("token_embd.weight", {32}), "tensor 'token_embd.weight' twice");
}

}  // namespace
}  // namespace brimful::tests
