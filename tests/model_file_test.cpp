// One model file that somebody else wrote, named by BRIMFUL_TEST_MODEL_FILE: bit for bit what plain llama.cpp
// computes, with room for all weights and with the smallest budget. scripts/test --architectures runs both
// tests for each model that llama.cpp's own test program writes, one process a model, as a model that
// libllama cannot run may end the process.

#include <gtest/gtest.h>

#include <cstdlib>

#include "tiered_model.h"

namespace brimful::tests {
namespace {

constexpr std::size_t kPrompts[] = {1, 7, 100};
constexpr int kSteps = 3;

class ModelFile : public testing::Test {
 protected:
  void SetUp() override {
    const char* const path = std::getenv("BRIMFUL_TEST_MODEL_FILE");
    if (path == nullptr)
      GTEST_SKIP() << "BRIMFUL_TEST_MODEL_FILE names no model: scripts/test --architectures does";
    path_ = path;
  }

  const Settings settings_{.context = 256, .ubatch = 256, .threads = 1};
  std::filesystem::path path_;
};

std::vector<Trace> traces(llama_context* context) {
  std::vector<Trace> out;
  for (const std::size_t length : kPrompts)
    out.push_back(trace(context, some_tokens(context, length), kSteps));
  return out;
}

TEST_F(ModelFile, RunsWithPlainLlamaCpp) {
  const PlainModel plain(path_, settings_);
  ASSERT_NE(plain.context(), nullptr) << path_;
  for (const Trace& trace : traces(plain.context())) {
    ASSERT_EQ(trace.logits.size(), kSteps + 1U) << path_;
    EXPECT_TRUE(trace == trace) << path_ << ": a logit is not a number";
  }
}

TEST_F(ModelFile, GivesTheBitsOfPlainLlamaCppAtEveryBudget) {
  const PlainModel plain(path_, settings_);
  ASSERT_NE(plain.context(), nullptr) << path_;
  const std::vector<Trace> expected = traces(plain.context());
  for (const unsigned percent : {100U, 0U}) {
    auto tiered = TieredModel::load(path_, settings_, percent_of_weights(percent));
    ASSERT_TRUE(tiered) << path_ << ", " << percent << "% of the weights: " << tiered.error().message;
    EXPECT_TRUE(traces((*tiered)->context()) == expected) << path_ << ", " << percent << "% of the weights";
  }
}

}  // namespace
}  // namespace brimful::tests
