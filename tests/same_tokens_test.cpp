// The tokens are the same at every budget, bit for bit those of plain llama.cpp.

#include <gtest/gtest.h>

#include "synth_model.h"
#include "tiered_model.h"

namespace brimful::tests {
namespace {

// In percent of the weights; 0: the smallest feasible budget.
constexpr unsigned kBudgets[] = {100, 75, 50, 25, 0};
constexpr std::size_t kPrompts[] = {1, 7, 100, 600};
constexpr int kSteps = 3;

/// Compares every prompt at every budget with the oracle.
void expect_same_logits(const std::filesystem::path& path, const Settings& settings) {
  const PlainModel plain(path, settings);
  ASSERT_NE(plain.context(), nullptr) << path;
  std::vector<Trace> expected;
  for (const std::size_t length : kPrompts) {
    expected.push_back(trace(plain.context(), some_tokens(plain.context(), length), kSteps));
    ASSERT_EQ(expected.back().logits.size(), kSteps + 1U);
  }
  for (const unsigned percent : kBudgets) {
    SCOPED_TRACE(testing::Message() << path.filename() << " with " << percent << "% of the weights");
    auto tiered = TieredModel::load(path, settings, percent_of_weights(percent));
    ASSERT_TRUE(tiered) << tiered.error().message;
    EXPECT_EQ((*tiered)->streams(), percent != 100);
    for (std::size_t i = 0; i < expected.size(); ++i) {
      const Trace got = trace((*tiered)->context(), some_tokens(plain.context(), kPrompts[i]), kSteps);
      EXPECT_TRUE(got == expected[i]) << "prompt of " << kPrompts[i] << " tokens";
    }
  }
}

TEST(SameTokens, Stories260K) {
  const auto path = shared_file("models/stories260K-f32.gguf");
  if (path.empty()) GTEST_SKIP() << "../shared is not here: stories260K-f32.gguf is not tested";
  expect_same_logits(path, {});
}

TEST(SameTokens, Stories15M) {
  const auto path = stories15m();
  if (path.empty()) GTEST_SKIP() << "no stories15M: make it with scripts/demo";
  expect_same_logits(path, {});
}

class SameTokensOfType : public testing::TestWithParam<ggml_type> {};

TEST_P(SameTokensOfType, SyntheticLlama) {
  const TemporaryDirectory directory;
  const auto path =
      synth_model(directory, {.like = "llama-tiny", .type = synth::synth_type_name(GetParam())});
  ASSERT_FALSE(path.empty());
  expect_same_logits(path, {});
}

// Every type with which ggml computes, including those that llama.cpp's quantiser makes only with an
// importance matrix.
INSTANTIATE_TEST_SUITE_P(All, SameTokensOfType, testing::ValuesIn(synth::synth_types()),
                         [](const auto& test) { return synth::synth_type_name(test.param); });

TEST(SameTokens, TiedEmbeddings) {
  const TemporaryDirectory directory;
  const auto path = synth_model(directory, {.like = "llama-tiny", .type = "Q6_K", .tied = true});
  ASSERT_FALSE(path.empty());
  expect_same_logits(path, {});
}

TEST(SameTokens, SplitFiles) {
  const TemporaryDirectory directory;
  const auto path = synth_model(directory, {.like = "llama-tiny", .type = "Q8_0", .splits = 3});
  ASSERT_FALSE(path.empty());
  expect_same_logits(path, {});
}

TEST(SameTokens, LargeAlignment) {
  const TemporaryDirectory directory;
  const auto path = synth_model(directory, {.like = "llama-tiny", .type = "Q4_0", .alignment = 4096});
  ASSERT_FALSE(path.empty());
  expect_same_logits(path, {});
}

TEST(SameTokens, OneThreadSmallUbatchWithoutFlashAttention) {
  const auto path = stories15m();
  if (path.empty()) GTEST_SKIP() << "no stories15M: make it with scripts/demo";
  expect_same_logits(path, {.ubatch = 64, .threads = 1, .flash_attention = LLAMA_FLASH_ATTN_TYPE_DISABLED});
}

TEST(SameTokens, QuantizedCache) {
  const TemporaryDirectory directory;
  const auto path = synth_model(directory, {.like = "llama-tiny", .type = "Q4_K"});
  ASSERT_FALSE(path.empty());
  expect_same_logits(path, {.flash_attention = LLAMA_FLASH_ATTN_TYPE_ENABLED, .cache_type = GGML_TYPE_Q8_0});
}

class SameTokensOfExperts : public testing::TestWithParam<std::tuple<const char*, const char*>> {};

TEST_P(SameTokensOfExperts, Synthetic) {
  const TemporaryDirectory directory;
  const auto [like, type] = GetParam();
  const auto path = synth_model(directory, {.like = like, .type = type});
  ASSERT_FALSE(path.empty());
  expect_same_logits(path, {});
}

// On some machines Q4_K and MXFP4 are rearranged, and Q6_K and Q8_0 are not. Experts of MXFP4 do not begin
// at block boundaries.
INSTANTIATE_TEST_SUITE_P(All, SameTokensOfExperts,
                         testing::Combine(testing::Values("mixtral", "qwen3moe"),
                                          testing::Values("Q4_K", "Q6_K", "Q8_0", "MXFP4", "IQ3_S")),
                         [](const auto& test) {
                           return std::string(std::get<0>(test.param)) + "_" + std::get<1>(test.param);
                         });

struct Quantization {
  const char* name;
  llama_ftype type;
};

void PrintTo(const Quantization& quantization, std::ostream* out) { *out << quantization.name; }

class SameTokensQuantized : public testing::TestWithParam<Quantization> {};

TEST_P(SameTokensQuantized, Stories15M) {
  const auto path = stories15m();
  if (path.empty()) GTEST_SKIP() << "no stories15M: make it with scripts/demo";
  const TemporaryDirectory directory;
  const auto quantized = directory.path() / (std::string(GetParam().name) + ".gguf");
  llama_model_quantize_params params = llama_model_quantize_default_params();
  params.ftype = GetParam().type;
  params.nthread = 2;
  ASSERT_EQ(llama_model_quantize(path.c_str(), quantized.c_str(), &params), 0U);
  expect_same_logits(quantized, {});
}

// All mixes of llama.cpp's quantiser that need no importance matrix.
INSTANTIATE_TEST_SUITE_P(
    All, SameTokensQuantized,
    testing::Values(
        Quantization{"F16", LLAMA_FTYPE_MOSTLY_F16}, Quantization{"BF16", LLAMA_FTYPE_MOSTLY_BF16},
        Quantization{"Q8_0", LLAMA_FTYPE_MOSTLY_Q8_0}, Quantization{"Q5_1", LLAMA_FTYPE_MOSTLY_Q5_1},
        Quantization{"Q5_0", LLAMA_FTYPE_MOSTLY_Q5_0}, Quantization{"Q4_1", LLAMA_FTYPE_MOSTLY_Q4_1},
        Quantization{"Q4_0", LLAMA_FTYPE_MOSTLY_Q4_0}, Quantization{"Q6_K", LLAMA_FTYPE_MOSTLY_Q6_K},
        Quantization{"Q5_K_M", LLAMA_FTYPE_MOSTLY_Q5_K_M}, Quantization{"Q4_K_M", LLAMA_FTYPE_MOSTLY_Q4_K_M},
        Quantization{"Q3_K_M", LLAMA_FTYPE_MOSTLY_Q3_K_M}, Quantization{"Q2_K", LLAMA_FTYPE_MOSTLY_Q2_K},
        Quantization{"IQ4_XS", LLAMA_FTYPE_MOSTLY_IQ4_XS}, Quantization{"IQ4_NL", LLAMA_FTYPE_MOSTLY_IQ4_NL},
        Quantization{"IQ3_S", LLAMA_FTYPE_MOSTLY_IQ3_S}, Quantization{"IQ3_M", LLAMA_FTYPE_MOSTLY_IQ3_M},
        Quantization{"TQ1_0", LLAMA_FTYPE_MOSTLY_TQ1_0}, Quantization{"TQ2_0", LLAMA_FTYPE_MOSTLY_TQ2_0}),
    [](const auto& test) { return std::string(test.param.name); });

}  // namespace
}  // namespace brimful::tests
