#include "model/gguf_checks.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <limits>

#include "model/gguf_test_file.h"

namespace brimful::model {
namespace {

using ::testing::HasSubstr;
using testing::small_model;
using testing::TestFile;

Status check(const TestFile& file) {
  const auto bytes = file.bytes();
  const auto parsed = parse_gguf(bytes, bytes.size());
  if (!parsed) return std::unexpected(parsed.error());
  const GgufValues values(std::get<GgufHeader>(*parsed), bytes);
  BRIMFUL_TRY_VOID(check_architecture(values));
  BRIMFUL_TRY_VOID(check_tensor_types(values.header()));
  return check_tokenizer(values);
}

void expect_refused(const TestFile& file, const std::string& message, ErrorCode code = ErrorCode::kCorrupt) {
  const Status status = check(file);
  ASSERT_FALSE(status) << "accepted; expected: " << message;
  EXPECT_EQ(to_string(status.error().code), to_string(code)) << status.error().message;
  EXPECT_THAT(status.error().message, HasSubstr(message));
}

TestFile expert_model() {
  return small_model().u32("llama.expert_count", 8).u32("llama.expert_used_count", 2);
}

TEST(CheckArchitecture, AcceptsPlausibleModels) {
  EXPECT_TRUE(check(small_model()));
  EXPECT_TRUE(check(expert_model()));
  EXPECT_TRUE(
      check(expert_model().u32("llama.expert_group_count", 4).u32("llama.expert_group_used_count", 2)));
  TestFile per_layer = small_model();
  per_layer.numbers<std::int32_t>("llama.attention.head_count", GGUF_TYPE_INT32, {4, 8});
  per_layer.numbers<std::int32_t>("llama.attention.head_count_kv", GGUF_TYPE_INT32, {2, 0});
  EXPECT_TRUE(check(per_layer)) << check(per_layer).error().message;
}

TEST(CheckArchitecture, NeedsAnArchitecture) {
  expect_refused(small_model().remove("general.architecture"), "no 'general.architecture'");
  expect_refused(small_model().text("general.architecture", ""), "no 'general.architecture'");
  expect_refused(small_model().u32("general.architecture", 1), "is not str");
  expect_refused(small_model().text("general.architecture", "clip"), "vision projector",
                 ErrorCode::kUnsupported);
}

TEST(CheckArchitecture, RefusesLayerCountsThatLibllamaAssertsOn) {
  for (const std::uint32_t layers : {0U, 513U, UINT32_MAX}) {
    expect_refused(small_model().u32("llama.block_count", layers), "'llama.block_count' is");
  }
  expect_refused(small_model().remove("llama.block_count"), "has no 'llama.block_count'");
  expect_refused(small_model().text("llama.block_count", "2"), "is not u32");
  expect_refused(small_model().u32("llama.nextn_predict_layers", 2), "predict further tokens");
}

TEST(CheckArchitecture, RefusesSizesOfZero) {
  expect_refused(small_model().u32("llama.embedding_length", 0), "'llama.embedding_length' is 0");
  expect_refused(small_model().u32("llama.attention.head_count", 0),
                 "'llama.attention.head_count' is missing or 0");
  expect_refused(small_model().remove("llama.attention.head_count"), "is missing or 0");
  expect_refused(small_model().u32("llama.attention.key_length", 0), "keys of 0");
}

TEST(CheckArchitecture, RefusesHeadsThatDoNotDivide) {
  expect_refused(small_model().u32("llama.attention.head_count_kv", 3), "4 attention heads over 3");
  expect_refused(small_model().u32("llama.attention.head_count_kv", 8), "4 attention heads over 8");
  TestFile file = small_model();
  file.numbers<std::int32_t>("llama.attention.head_count", GGUF_TYPE_INT32, {4, -4});
  expect_refused(file, "is not a number of 32 bits");
  file.numbers<std::uint32_t>("llama.attention.head_count", GGUF_TYPE_UINT32, {4, 4, 4});
  expect_refused(file, "3 elements for 2 layers");
}

TEST(CheckArchitecture, RefusesHeadLengthsThatGraphsAssertOn) {
  expect_refused(small_model().u32("llama.attention.value_length", 8), "keys have 16 elements and values 8");
  expect_refused(small_model().u32("llama.rope.dimension_count", 8), "RoPE turns 8 of 16");
}

TEST(CheckArchitecture, RefusesImpossibleExperts) {
  expect_refused(expert_model().u32("llama.expert_used_count", 9), "uses 9 of 8 experts");
  expect_refused(expert_model().u32("llama.expert_used_count", 0), "uses 0 of 8 experts");
  expect_refused(expert_model().u32("llama.expert_count", 0), "uses 2 of 0 experts");
  expect_refused(expert_model().u32("llama.expert_count", 1025), "1025 experts", ErrorCode::kUnsupported);
  expect_refused(expert_model().u32("llama.expert_group_count", 8), "8 expert groups of 8");
  expect_refused(expert_model().u32("llama.expert_group_count", 3), "expert groups of 8");
  expect_refused(small_model().u32("llama.expert_group_count", 1), "1 expert groups of 0");
}

TEST(CheckArchitecture, RefusesUnknownRopeScalingAndHugeVocabularies) {
  expect_refused(small_model().text("llama.rope.scaling.type", "new"), "RoPE scaling",
                 ErrorCode::kUnsupported);
  expect_refused(small_model().u32("llama.vocab_size", UINT32_MAX), "'llama.vocab_size' is 4294967295");
}

// llama.cpp's own model saver writes the keys of all architectures; a model of another one holds them as 0.
TEST(CheckArchitecture, JudgesNoKeyThatTheArchitectureDoesNotRead) {
  for (const char* key :
       {"wkv.head_size", "ssm.time_step_rank", "ssm.group_count", "full_attention_interval",
        "experts_per_group", "attention.output_group_count", "attention.indexer.block_size",
        "conv_group_size", "num_loops", "hrm.layers_per_stack", "hrm.h_cycles", "hrm.l_cycles",
        "hyper_connection.count", "interleave_moe_layer_step", "expert_gating_func", "kda.head_dim",
        "attention.temperature_length", "ssm.inner_size"}) {
    const Status status = check(expert_model().u32("llama." + std::string(key), 0));
    EXPECT_TRUE(status) << key << ": " << status.error().message;
  }
  EXPECT_TRUE(check(small_model().u32("llama.num_loops", 257)));
  EXPECT_TRUE(check(small_model().u32("llama.hrm.layers_per_stack", 2)));
  EXPECT_TRUE(check(small_model().u32("llama.attention.sliding_window_pattern", 1)));
  TestFile sections = small_model();
  sections.numbers<std::int32_t>("llama.rope.dimension_sections", GGUF_TYPE_INT32, {0, 0, 0, 0});
  EXPECT_TRUE(check(sections));
}

TEST(CheckArchitecture, RefusesEpsilonsThatKernelsAssertOn) {
  EXPECT_TRUE(check(small_model().f32("llama.attention.layer_norm_rms_epsilon", 1e-5F)));
  for (const float bad :
       {-1e-5F, std::numeric_limits<float>::quiet_NaN(), std::numeric_limits<float>::infinity()}) {
    expect_refused(small_model().f32("llama.attention.layer_norm_rms_epsilon", bad), "epsilon' is");
  }
}

TEST(CheckTensorTypes, RefusesTypesWithoutAKernel) {
  const auto with = [](std::string_view name, ggml_type type, std::vector<std::int64_t> shape = {32}) {
    return small_model().tensor(name, std::move(shape), type);
  };
  EXPECT_TRUE(check(with("blk.0.ffn_up.weight", GGML_TYPE_Q8_0, {32, 2})));
  EXPECT_TRUE(check(with("blk.0.ffn_gate_tid2eid.weight", GGML_TYPE_I32, {32, 2})));
  EXPECT_TRUE(check(with("d2t", GGML_TYPE_I64)));
  EXPECT_TRUE(check(with("blk.0.attn_norm.weight", GGML_TYPE_F32)));
  expect_refused(with("blk.0.ffn_up.weight", GGML_TYPE_I32, {32, 2}), "has type i32",
                 ErrorCode::kUnsupported);
  expect_refused(with("token_embd_2.weight", GGML_TYPE_F64, {32, 2}), "has type f64",
                 ErrorCode::kUnsupported);
  expect_refused(with("blk.0.attn_norm.weight", GGML_TYPE_F16), "has type f16", ErrorCode::kUnsupported);
  expect_refused(with("blk.0.attn_q.bias", GGML_TYPE_Q8_0), "has type q8_0", ErrorCode::kUnsupported);
  expect_refused(with("rope_freqs.weight", GGML_TYPE_F16), "has type f16", ErrorCode::kUnsupported);
}

TEST(CheckTokenizer, WantsTypedArraysOfTheSameLength) {
  expect_refused(small_model().u32("tokenizer.ggml.tokens", 1), "not an array of str");
  expect_refused(small_model().text("tokenizer.ggml.scores", "x"), "not an array of f32");
  expect_refused(small_model().numbers<std::int8_t>("tokenizer.ggml.scores", GGUF_TYPE_INT8, {0, 0, 0, 0}),
                 "not an array of f32");
  expect_refused(small_model().numbers<float>("tokenizer.ggml.scores", GGUF_TYPE_FLOAT32, {0, 0, 0}),
                 "3 elements for 4 tokens");
  expect_refused(small_model().numbers<float>("tokenizer.ggml.token_type", GGUF_TYPE_FLOAT32, {0, 0, 0, 0}),
                 "not an array of i32");
  expect_refused(small_model().numbers<std::int32_t>("tokenizer.ggml.token_type", GGUF_TYPE_INT32, {1}),
                 "1 elements for 4 tokens");
  expect_refused(small_model().u32("tokenizer.ggml.merges", 1), "not an array of str");
  expect_refused(small_model().numbers<std::uint8_t>("tokenizer.ggml.merges", GGUF_TYPE_UINT8, {1}),
                 "not an array of str");
  expect_refused(small_model().u32("tokenizer.ggml.model", 1), "is not str");
}

TestFile vocabulary(const std::vector<std::string>& tokens, const std::string& tokenizer = "llama") {
  TestFile file = small_model();
  file.remove("tokenizer.ggml.scores").remove("tokenizer.ggml.token_type");
  return file.text("tokenizer.ggml.model", tokenizer).texts("tokenizer.ggml.tokens", tokens);
}

TEST(CheckTokenizer, RefusesVocabulariesThatLibllamaAssertsOn) {
  expect_refused(vocabulary({}), "is empty");
  expect_refused(vocabulary({"a", "b", "c", "a"}), "token 'a' twice");
  expect_refused(vocabulary({"a", "b", std::string("a\0x", 3)}), "token 'a' twice");
  expect_refused(vocabulary({"a", "", "[EMPTY_1]"}), "token '[EMPTY_1]' twice");
  expect_refused(vocabulary({"a", "b", std::string(20000, 'x')}), "20000 bytes long");
  EXPECT_TRUE(check(vocabulary({"a", "", "", "b"})));
}

TEST(CheckTokenizer, RefusesPromptTokensThatDoNotExist) {
  expect_refused(vocabulary({"a"}), "each prompt gets token 1");
  EXPECT_TRUE(check(vocabulary({"a"}).u32("tokenizer.ggml.bos_token_id", 0)));
  EXPECT_TRUE(check(vocabulary({"a"}).boolean("tokenizer.ggml.add_bos_token", false)));
  expect_refused(vocabulary({"a", "b"}).boolean("tokenizer.ggml.add_eos_token", true),
                 "each prompt gets token 2");
  expect_refused(vocabulary({"a", "b"}, "bert").boolean("tokenizer.ggml.add_bos_token", false), "token 101");
}

TEST(CheckTokenizer, AcceptsSpecialTokensThatLibllamaReplaces) {
  EXPECT_TRUE(check(small_model().u32("tokenizer.ggml.padding_token_id", UINT32_MAX)));
}

TEST(CheckTokenizer, RefusesByteTokensInWordPiece) {
  TestFile file = vocabulary({"a", "b"}, "bert");
  file.u32("tokenizer.ggml.bos_token_id", 0).u32("tokenizer.ggml.seperator_token_id", 1);
  EXPECT_TRUE(check(file)) << check(file).error().message;
  file.numbers<std::int32_t>("tokenizer.ggml.token_type", GGUF_TYPE_INT32, {1, 6});
  expect_refused(file, "token 1 is a byte");
}

TEST(CheckTokenizer, RefusesRwkvVocabulariesThatNeverEnd) {
  EXPECT_TRUE(check(vocabulary({"a", "ab", "\\n", "\\n\\n"}, "rwkv")));
  expect_refused(vocabulary({"a", "ab", "\\n\\n"}, "rwkv"), "no token for byte 10 alone");
  expect_refused(vocabulary({"a", "ab", "\\xe4b"}, "rwkv"), "no token for byte 228 alone");
}

TEST(CheckTokenizer, RefusesCharsmapsThatPointOutside) {
  const auto charsmap = [](const std::vector<std::uint8_t>& bytes) {
    return small_model().numbers("tokenizer.ggml.precompiled_charsmap", GGUF_TYPE_UINT8, bytes);
  };
  EXPECT_TRUE(check(charsmap({4, 0, 0, 0, 1, 2, 3, 4, 0})));
  expect_refused(charsmap({4, 0}), "not a byte table");
  expect_refused(charsmap({4, 0, 0, 0, 1, 2, 3, 4}), "claims 4 bytes of 8");
  expect_refused(charsmap({0xFF, 0xFF, 0xFF, 0xFF, 1, 2, 3, 4, 5}), "claims 4294967295");
  expect_refused(small_model().u32("tokenizer.ggml.precompiled_charsmap", 1), "not a byte table");
}

}  // namespace
}  // namespace brimful::model
