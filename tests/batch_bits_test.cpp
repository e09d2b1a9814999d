// A token's logits are the same bits in a batch as alone, when our device computes token by token.

#include <gtest/gtest.h>

#include "synth_model.h"
#include "tiered_model.h"

namespace brimful::tests {
namespace {

constexpr std::size_t kMost = 16;
constexpr std::size_t kCellStep = 256;  // The KV cache is visible to attention in steps of this size.

using Logits = std::vector<float>;

class Batches {
 public:
  Batches(const std::filesystem::path& path, Settings settings, unsigned percent) {
    settings.outputs = kMost;
    settings.token_by_token = true;
    auto loaded = TieredModel::load(path, settings, percent_of_weights(percent));
    if (loaded) {
      model_ = *std::move(loaded);
    } else {
      error_ = loaded.error();
    }
  }

  [[nodiscard]] const std::optional<Error>& error() const { return error_; }
  [[nodiscard]] llama_context* context() const { return model_->context(); }
  /// The most tokens in a pass. The limit comes from the kernels of experts.
  [[nodiscard]] std::size_t most() const {
    return std::min(kMost, static_cast<std::size_t>(model_->device().most_tokens()));
  }

  /// Removes the tokens from `position` on, and puts `tokens` there in one pass.
  [[nodiscard]] std::vector<Logits> decode(std::size_t position, const std::vector<llama_token>& tokens,
                                           bool token_by_token) {
    forget(position);
    SequenceBatch batch;
    batch.add(0, static_cast<llama_pos>(position), tokens);
    for (SequenceBatch::Token& token : batch.tokens) token.output = true;
    model_->device().token_by_token(token_by_token);
    auto out = outputs_of(context(), batch);
    model_->device().token_by_token(false);
    return out;
  }

  void prompt(std::size_t length) {
    EXPECT_FALSE(trace(context(), some_tokens(context(), length), 0).logits.empty());
  }
  void forget(std::size_t position) {
    EXPECT_TRUE(llama_memory_seq_rm(llama_get_memory(context()), 0, static_cast<llama_pos>(position), -1));
  }

  /// Computes a prompt, and then tokens one by one.
  [[nodiscard]] std::vector<Logits> alone(std::size_t length, const std::vector<llama_token>& tokens) {
    std::vector<Logits> out;
    for (std::size_t i = 0; i < tokens.size(); ++i) {
      auto logits = decode(length + i, {tokens[i]}, false);
      EXPECT_EQ(logits.size(), 1U);
      if (!logits.empty()) out.push_back(std::move(logits.front()));
    }
    return out;
  }

 private:
  std::unique_ptr<TieredModel> model_;
  std::optional<Error> error_;
};

std::vector<llama_token> first(const std::vector<llama_token>& tokens, std::size_t count) {
  return {tokens.begin(), tokens.begin() + static_cast<std::ptrdiff_t>(count)};
}

void expect_batches_like_single_tokens(Batches& batches, std::size_t prompt,
                                       const std::vector<std::size_t>& counts) {
  const std::vector<llama_token> tokens = some_tokens(batches.context(), kMost);
  batches.prompt(prompt);
  const std::vector<Logits> alone = batches.alone(prompt, tokens);
  ASSERT_EQ(alone.size(), kMost);
  for (const std::size_t wanted : counts) {
    const std::size_t count = std::min(wanted, batches.most());
    const std::vector<Logits> together = batches.decode(prompt, first(tokens, count), true);
    ASSERT_EQ(together.size(), count);
    for (std::size_t i = 0; i < count; ++i) {
      EXPECT_TRUE(together[i] == alone[i]) << "token " << i << " of " << count << " behind " << prompt;
    }
  }
}

/// Computes tokens, each followed by a wrong draft that is removed again, and expects that the drafts leave
/// no trace.
void expect_no_trace_of_wrong_drafts(Batches& batches, std::size_t prompt, std::size_t count) {
  const std::vector<llama_token> tokens = some_tokens(batches.context(), count);
  batches.prompt(prompt);
  const std::vector<Logits> alone = batches.alone(prompt, tokens);
  ASSERT_EQ(alone.size(), count);
  batches.prompt(prompt);
  for (std::size_t i = 0; i < count; ++i) {
    std::vector<llama_token> batch{tokens[i], 1, 2, 3, 4};
    const std::size_t step_ends = kCellStep - (prompt + i) % kCellStep;
    batch.resize(std::min({batch.size(), step_ends, batches.most()}));
    const std::vector<Logits> got = batches.decode(prompt + i, batch, true);
    ASSERT_EQ(got.size(), batch.size());
    EXPECT_TRUE(got.front() == alone[i]) << "token " << i << " behind " << prompt;
    batches.forget(prompt + i + 1);
  }
}

class BatchBitsOfType : public testing::TestWithParam<ggml_type> {};

TEST_P(BatchBitsOfType, AreThoseOfSingleTokens) {
  const TemporaryDirectory directory;
  const auto path =
      synth_model(directory, {.like = "llama-tiny", .type = synth::synth_type_name(GetParam())});
  ASSERT_FALSE(path.empty());
  Batches batches(path, {.threads = 1}, 0);
  ASSERT_FALSE(batches.error()) << batches.error()->message;
  ASSERT_EQ(batches.most(), kMost);
  expect_batches_like_single_tokens(batches, 7, {2, 3, 5, 8, kMost});
}

INSTANTIATE_TEST_SUITE_P(All, BatchBitsOfType, testing::ValuesIn(synth::synth_types()),
                         [](const auto& test) { return synth::synth_type_name(test.param); });

class BatchBitsOfExperts : public testing::TestWithParam<ggml_type> {};

TEST_P(BatchBitsOfExperts, AreThoseOfSingleTokens) {
  const TemporaryDirectory directory;
  const auto path =
      synth_model(directory, {.like = "mixtral", .type = synth::synth_type_name(GetParam()), .layers = 2});
  ASSERT_FALSE(path.empty());
  for (const unsigned percent : {100U, 0U}) {
    Batches batches(path, {.threads = 1}, percent);
    ASSERT_FALSE(batches.error()) << batches.error()->message;
    EXPECT_GE(batches.most(), 4U);
    expect_batches_like_single_tokens(batches, 7, {2, 3, 5, 8, kMost});
  }
}

INSTANTIATE_TEST_SUITE_P(All, BatchBitsOfExperts, testing::ValuesIn(synth::synth_types()),
                         [](const auto& test) { return synth::synth_type_name(test.param); });

class BatchBits : public testing::TestWithParam<const char*> {};

TEST_P(BatchBits, AreThoseOfSingleTokens) {
  const TemporaryDirectory directory;
  const auto path = synth_model(directory, {.like = GetParam()});
  ASSERT_FALSE(path.empty());
  // A small ubatch: the KV cache of a sliding window then has little more than the window, and wraps.
  Batches batches(path, {.context = 2048, .ubatch = 64, .threads = 1}, 50);
  ASSERT_FALSE(batches.error()) << batches.error()->message;
  for (const std::size_t prompt : {7U, 240U, 600U, 1500U}) {
    expect_batches_like_single_tokens(batches, prompt, {2, 7, kMost});
    expect_no_trace_of_wrong_drafts(batches, prompt, 40);
  }
}

INSTANTIATE_TEST_SUITE_P(All, BatchBits,
                         testing::Values("llama", "qwen2", "qwen3", "gemma3", "phi3", "mixtral", "qwen3moe",
                                         "deepseek2", "gpt-oss", "glm4moe"),
                         test_name);

class NoBatches : public testing::TestWithParam<const char*> {};

TEST_P(NoBatches, WhereTokensDependOnEachOtherWithinAnOperation) {
  const TemporaryDirectory directory;
  const auto path = synth_model(directory, {.like = GetParam()});
  ASSERT_FALSE(path.empty());
  const Batches batches(path, {.threads = 1}, 100);
  ASSERT_TRUE(batches.error());
  EXPECT_EQ(batches.error()->code, ErrorCode::kUnsupported);
}

INSTANTIATE_TEST_SUITE_P(All, NoBatches, testing::Values("mamba2", "qwen3next", "falcon-h1"), test_name);

TEST(BatchBits, OfATrainedModelAreThoseOfSingleTokens) {
  const auto path = stories15m();
  if (path.empty()) GTEST_SKIP() << "no stories15M: make it with scripts/demo";
  Batches batches(path, {}, 50);
  ASSERT_FALSE(batches.error()) << batches.error()->message;
  for (const std::size_t prompt : {7U, 600U}) expect_batches_like_single_tokens(batches, prompt, {2, kMost});
  expect_no_trace_of_wrong_drafts(batches, 600, 10);
}

TEST(BatchBits, WouldDifferIfTokensWereComputedTogether) {
  // Flash attention splits the KV cache among threads for one token, from 512 cells on.
  const auto path = stories15m();
  if (path.empty()) GTEST_SKIP() << "no stories15M: make it with scripts/demo";
  Batches batches(path, {.flash_attention = LLAMA_FLASH_ATTN_TYPE_ENABLED}, 100);
  ASSERT_FALSE(batches.error()) << batches.error()->message;
  const std::vector<llama_token> tokens = some_tokens(batches.context(), 4);
  batches.prompt(600);
  const std::vector<Logits> alone = batches.alone(600, tokens);
  EXPECT_FALSE(batches.decode(600, tokens, false) == alone);
  EXPECT_TRUE(batches.decode(600, tokens, true) == alone);
}

TEST(BatchBits, AreThoseOfSingleTokensWithoutFlashAttention) {
  const auto path = stories15m();
  if (path.empty()) GTEST_SKIP() << "no stories15M: make it with scripts/demo";
  Batches batches(path, {.threads = 1, .flash_attention = LLAMA_FLASH_ATTN_TYPE_DISABLED}, 50);
  ASSERT_FALSE(batches.error()) << batches.error()->message;
  for (const std::size_t prompt : {7U, 600U})
    expect_batches_like_single_tokens(batches, prompt, {2, 5, kMost});
}

TEST(BatchBits, AreThoseOfSingleTokensWithAQuantizedCache) {
  const TemporaryDirectory directory;
  const auto path = synth_model(directory, {.like = "llama-tiny", .type = "Q4_K"});
  ASSERT_FALSE(path.empty());
  Batches batches(
      path, {.threads = 1, .flash_attention = LLAMA_FLASH_ATTN_TYPE_ENABLED, .cache_type = GGML_TYPE_Q8_0},
      50);
  ASSERT_FALSE(batches.error()) << batches.error()->message;
  for (const std::size_t prompt : {7U, 600U})
    expect_batches_like_single_tokens(batches, prompt, {2, 5, kMost});
}

}  // namespace
}  // namespace brimful::tests
