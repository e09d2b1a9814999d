// Every architecture computes bit for bit what plain llama.cpp computes, at every budget.

#include <gtest/gtest.h>

#include "synth_model.h"
#include "tiered_model.h"

namespace brimful::tests {
namespace {

// In percent of the weights, or the least that is feasible.
constexpr unsigned kBudgets[] = {100, 75, 50, 25};
constexpr std::size_t kPrompts[] = {1, 7, 100, 600};
constexpr int kSteps = 2;
// It is a divisor of the ubatch, because with pooling libllama aborts on other numbers.
constexpr std::uint32_t kSequences = 4;

std::vector<llama_token> part(const std::vector<llama_token>& tokens, std::size_t first, std::size_t count) {
  const auto begin = tokens.begin() + static_cast<std::ptrdiff_t>(first);
  return {begin, begin + static_cast<std::ptrdiff_t>(count)};
}

using Outputs = std::vector<std::vector<float>>;

/// Sequences of different lengths in one batch, then a step of all of them, then another of two.
std::vector<Outputs> sequences_trace(llama_context* context, bool goes_on) {
  llama_memory_clear(llama_get_memory(context), true);
  const std::vector<llama_token> tokens = some_tokens(context, 200);
  SequenceBatch prompts;
  prompts.add(0, 0, part(tokens, 0, 5));
  prompts.add(1, 0, part(tokens, 10, 90));
  prompts.add(2, 0, part(tokens, 110, 1));
  std::vector<Outputs> out{outputs_of(context, prompts)};
  if (!goes_on) return out;
  SequenceBatch step;
  step.add(0, 5, part(tokens, 120, 1));
  step.add(1, 90, part(tokens, 121, 1));
  step.add(2, 1, part(tokens, 122, 1));
  out.push_back(outputs_of(context, step));
  SequenceBatch uneven;
  uneven.add(2, 2, part(tokens, 130, 40));
  uneven.add(0, 6, part(tokens, 180, 1));
  out.push_back(outputs_of(context, uneven));
  return out;
}

class Architecture : public testing::TestWithParam<const char*> {
 protected:
  void SetUp() override {
    path_ = synth_model(directory_, {.like = GetParam()});
    ASSERT_FALSE(path_.empty());
    budgets_.assign(std::begin(kBudgets), std::end(kBudgets));
  }

  /// Runs `check` on the model at each budget.
  template <typename Check>
  void at_every_budget(const Settings& settings, const Check& check) {
    for (const unsigned percent : budgets_) {
      SCOPED_TRACE(testing::Message() << percent << "% of the weights");
      auto tiered = TieredModel::load(path_, settings, percent_of_weights(percent));
      ASSERT_TRUE(tiered) << tiered.error().message;
      EXPECT_EQ((*tiered)->streams(), percent != 100);
      check((*tiered)->context());
    }
  }

  TemporaryDirectory directory_;
  std::filesystem::path path_;
  std::vector<unsigned> budgets_;
};

class Decoder : public Architecture {};

TEST_P(Decoder, SameLogits) {
  const Settings settings{.threads = 1, .sequences = kSequences, .outputs = kSequences};
  const PlainModel plain(path_, settings);
  ASSERT_NE(plain.context(), nullptr);
  std::vector<Trace> prompts;
  for (const std::size_t length : kPrompts) {
    prompts.push_back(trace(plain.context(), some_tokens(plain.context(), length), kSteps));
    ASSERT_EQ(prompts.back().logits.size(), kSteps + 1U);
  }
  const std::vector<Outputs> sequences = sequences_trace(plain.context(), true);
  ASSERT_EQ(sequences.front().size(), 3U);
  ASSERT_EQ(sequences.back().size(), 2U);
  at_every_budget(settings, [&](llama_context* context) {
    for (std::size_t i = 0; i < prompts.size(); ++i) {
      const Trace got = trace(context, some_tokens(context, kPrompts[i]), kSteps);
      EXPECT_TRUE(got == prompts[i]) << "prompt of " << kPrompts[i] << " tokens";
    }
    EXPECT_TRUE(sequences_trace(context, true) == sequences);
  });
}

INSTANTIATE_TEST_SUITE_P(All, Decoder,
                         testing::Values("llama", "qwen2", "qwen3", "gemma3", "phi3", "mixtral", "qwen3moe",
                                         "deepseek2", "gpt-oss", "glm4moe", "mamba2", "qwen3next",
                                         "falcon-h1"),
                         test_name);

class Encoder : public Architecture {};

TEST_P(Encoder, SameEmbeddings) {
  const Settings settings{
      .ubatch = 1024, .threads = 1, .sequences = kSequences, .outputs = 1024, .embeddings = true};
  const PlainModel plain(path_, settings);
  ASSERT_NE(plain.context(), nullptr);
  const auto embed = [](llama_context* context, std::size_t length) {
    SequenceBatch batch;
    batch.add(0, 0, some_tokens(context, length));
    for (SequenceBatch::Token& token : batch.tokens) token.output = true;
    return outputs_of(context, batch);
  };
  std::vector<Outputs> texts;
  for (const std::size_t length : kPrompts) {
    texts.push_back(embed(plain.context(), length));
    ASSERT_EQ(texts.back().size(), 1U);
  }
  const std::vector<Outputs> sequences = sequences_trace(plain.context(), false);
  ASSERT_EQ(sequences.front().size(), 3U);
  at_every_budget(settings, [&](llama_context* context) {
    for (std::size_t i = 0; i < texts.size(); ++i) {
      EXPECT_TRUE(embed(context, kPrompts[i]) == texts[i]) << "text of " << kPrompts[i] << " tokens";
    }
    EXPECT_TRUE(sequences_trace(context, false) == sequences);
  });
}

INSTANTIATE_TEST_SUITE_P(All, Encoder, testing::Values("bert"), test_name);

/// Experts of each type. The types of dense matrices are tested with the budgets of one architecture.
class ExpertsOfType : public testing::TestWithParam<ggml_type> {};

TEST_P(ExpertsOfType, SameLogits) {
  const TemporaryDirectory directory;
  const auto path =
      synth_model(directory, {.like = "mixtral", .type = synth::synth_type_name(GetParam()), .layers = 2});
  ASSERT_FALSE(path.empty());
  const Settings settings{.threads = 1};
  const PlainModel plain(path, settings);
  ASSERT_NE(plain.context(), nullptr);
  const Trace expected = trace(plain.context(), some_tokens(plain.context(), 20), 1);
  ASSERT_EQ(expected.logits.size(), 2U);
  auto tiered = TieredModel::load(path, settings, percent_of_weights(0));
  ASSERT_TRUE(tiered) << tiered.error().message;
  EXPECT_TRUE((*tiered)->streams());
  EXPECT_TRUE(trace((*tiered)->context(), some_tokens(plain.context(), 20), 1) == expected);
}

INSTANTIATE_TEST_SUITE_P(All, ExpertsOfType, testing::ValuesIn(synth::synth_types()),
                         [](const auto& test) { return synth::synth_type_name(test.param); });

}  // namespace
}  // namespace brimful::tests
