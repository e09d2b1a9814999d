// A token's logits are the same bits in a batch as alone, when our device computes token by token.

#include <gtest/gtest.h>

#include "model/synth.h"
#include "temporary_directory.h"
#include "tiered_model.h"

namespace strata::tests {
namespace {

constexpr std::uint32_t kMost = 16;
constexpr std::size_t kBatches[] = {2, 3, 5, 8, kMost};
// The KV cache shows itself in steps of 256 cells; from 512 on ggml attends in another way to one token.
constexpr std::size_t kPrompts[] = {7, 240, 600};

std::filesystem::path synthesize(const std::filesystem::path& directory, const model::SynthOptions& options) {
  const auto design = model::design_synth(options);
  if (!design) return {};
  const auto written = model::write_synth(*design, directory / "synth.gguf", true, [](Bytes) {});
  return written ? written->front() : std::filesystem::path();
}

void expect_batches_like_single_tokens(const std::filesystem::path& path, Settings settings,
                                       unsigned percent) {
  SCOPED_TRACE(testing::Message() << path.filename() << " with " << percent << "% of the weights");
  settings.batch = kMost;
  auto tiered = TieredModel::load(path, settings, percent_of_weights(percent));
  ASSERT_TRUE(tiered) << tiered.error().message;
  llama_context* const context = (*tiered)->context();
  const std::vector<llama_token> tokens = some_tokens(context, kMost);
  for (const std::size_t length : kPrompts) {
    ASSERT_FALSE(trace(context, some_tokens(context, length), 0).logits.empty());
    std::vector<std::vector<float>> alone;
    for (const llama_token token : tokens) {
      const auto logits = decode_batch(context, {token});
      ASSERT_EQ(logits.size(), 1U);
      alone.push_back(logits.front());
    }
    for (const std::size_t count : kBatches) {
      llama_memory_seq_rm(llama_get_memory(context), 0, static_cast<llama_pos>(length), -1);
      (*tiered)->device().token_by_token(true);
      const auto together =
          decode_batch(context, {tokens.begin(), tokens.begin() + static_cast<std::ptrdiff_t>(count)});
      (*tiered)->device().token_by_token(false);
      ASSERT_EQ(together.size(), count);
      for (std::size_t i = 0; i < count; ++i) {
        EXPECT_TRUE(together[i] == alone[i])
            << "token " << i << " of " << count << " behind a prompt of " << length;
      }
    }
  }
}

class BatchBitsOfType : public testing::TestWithParam<ggml_type> {};

TEST_P(BatchBitsOfType, AreThoseOfSingleTokens) {
  const TemporaryDirectory directory;
  const auto path =
      synthesize(directory.path(), {.like = "llama-tiny", .type = model::synth_type_name(GetParam())});
  ASSERT_FALSE(path.empty());
  expect_batches_like_single_tokens(path, {.threads = 1}, 0);
}

INSTANTIATE_TEST_SUITE_P(All, BatchBitsOfType, testing::ValuesIn(model::synth_types()),
                         [](const auto& test) { return model::synth_type_name(test.param); });

TEST(BatchBits, AreThoseOfSingleTokensForATrainedModel) {
  const auto path = stories15m();
  if (path.empty()) GTEST_SKIP() << "no stories15M: make it with scripts/demo";
  for (const unsigned percent : {100U, 50U}) expect_batches_like_single_tokens(path, {}, percent);
}

TEST(BatchBits, AreThoseOfSingleTokensWithoutFlashAttention) {
  const auto path = stories15m();
  if (path.empty()) GTEST_SKIP() << "no stories15M: make it with scripts/demo";
  expect_batches_like_single_tokens(path, {.flash_attention = LLAMA_FLASH_ATTN_TYPE_DISABLED}, 50);
}

TEST(BatchBits, AreThoseOfSingleTokensWithAQuantizedCache) {
  const TemporaryDirectory directory;
  const auto path = synthesize(directory.path(), {.like = "llama-tiny", .type = "Q4_K"});
  ASSERT_FALSE(path.empty());
  expect_batches_like_single_tokens(
      path, {.flash_attention = LLAMA_FLASH_ATTN_TYPE_ENABLED, .cache_type = GGML_TYPE_Q8_0}, 50);
}

TEST(BatchBits, AreThoseOfSingleTokensForExperts) {
  const auto path = shared_file("models/stories260K-moe8x2-upcycled-f32.gguf");
  if (path.empty()) GTEST_SKIP() << "../shared is not here: a mixture of experts is not tested";
  expect_batches_like_single_tokens(path, {}, 100);
}

}  // namespace
}  // namespace strata::tests
