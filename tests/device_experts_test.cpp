// Experts in a device's slots, in front of the host's: the same tokens, whatever lies where.

#include <gtest/gtest.h>

#include "synth_model.h"
#include "test_device.h"
#include "tiered_model.h"

namespace strata::tests {
namespace {

constexpr Settings kSettings{
    .context = 512, .ubatch = 128, .threads = 1, .sequences = 4, .outputs = 4, .file_order = true};
constexpr int kSteps = 4;

/// A prompt of each length with tokens behind it, then sequences that decode together.
struct Texts {
  std::vector<Trace> alone;
  std::vector<std::vector<float>> together;
  bool operator==(const Texts&) const = default;
};

Texts texts_of(llama_context* context) {
  Texts out;
  for (const std::size_t length : {1, 30, 100})
    out.alone.push_back(trace(context, some_tokens(context, length), kSteps));
  llama_memory_clear(llama_get_memory(context), true);
  SequenceBatch batch;
  const auto tokens = some_tokens(context, 16);
  for (llama_seq_id s = 0; s < 4; ++s) {
    batch.add(s, 0,
              {tokens[static_cast<std::size_t>(s)], tokens[static_cast<std::size_t>(s) + 7],
               tokens[static_cast<std::size_t>(s) + 3]});
  }
  out.together = outputs_of(context, batch);
  return out;
}

struct Case {
  std::uint32_t layers = 100;
  std::uint32_t slots = 1;
  bool send = false;
  unsigned percent = 100;  ///< of the host's weights that stay in its memory
  Bytes ring = {};
};

class DeviceExperts : public testing::TestWithParam<const char*> {};

TEST_P(DeviceExperts, SameTokens) {
  const TemporaryDirectory directory;
  const auto path = synth_model(directory, {.like = GetParam(), .type = "Q4_K"});
  ASSERT_FALSE(path.empty());
  const PlainModel plain(path, kSettings);
  ASSERT_NE(plain.context(), nullptr);
  const Texts expected = texts_of(plain.context());
  ASSERT_EQ(expected.together.size(), 4U);
  for (const Case& c : std::vector<Case>{{.slots = 1},
                                         {.slots = 3, .percent = 50},
                                         {.slots = 3, .percent = 0},
                                         {.layers = 2, .slots = 2, .ring = kMiB * 2},
                                         {.slots = 6, .send = true},
                                         {.slots = 6, .send = true, .percent = 50},
                                         {.slots = 6, .send = true, .percent = 0}}) {
    SCOPED_TRACE(testing::Message() << c.slots << " slots, " << c.percent << "% of the rest in memory"
                                    << (c.send ? ", what is missing is sent" : ""));
    TestDevice device({.threads = 1});
    const auto tiered = TieredModel::load(
        path, kSettings, percent_of_weights(c.percent), {},
        {.device = &device, .layers = c.layers, .ring = c.ring, .slots = c.slots, .send_experts = c.send});
    ASSERT_TRUE(tiered) << tiered.error().message;
    EXPECT_TRUE(texts_of((*tiered)->context()) == expected);
    const tier::ExpertStatistics experts = (*tiered)->offload().experts();
    EXPECT_GT(experts.hits, 0U);
    EXPECT_LT(experts.hits, experts.used);
    if (c.send) {
      EXPECT_EQ(experts.read, experts.missed);
    }
    EXPECT_TRUE(texts_of((*tiered)->context()) == expected) << "now that others lie there";
    EXPECT_EQ(device.used(), (*tiered)->device_pool().reserved());
  }
}

INSTANTIATE_TEST_SUITE_P(All, DeviceExperts,
                         testing::Values("mixtral", "qwen3moe", "gpt-oss", "deepseek2", "glm4moe"),
                         test_name);

TEST(DeviceExperts, WhatIsUsedMostComesToTheDevice) {
  const TemporaryDirectory directory;
  const auto path = synth_model(directory, {.like = "qwen3moe", .type = "Q4_K", .router = "skewed"});
  ASSERT_FALSE(path.empty());
  TestDevice device({.threads = 1});
  const auto tiered = TieredModel::load(path, kSettings, percent_of_weights(100), {},
                                        {.device = &device, .layers = 100, .slots = 4});
  ASSERT_TRUE(tiered) << tiered.error().message;
  const auto hits_of_a_text = [&] {
    const tier::ExpertStatistics before = (*tiered)->offload().experts();
    EXPECT_FALSE(trace((*tiered)->context(), {1, 2, 3}, 60).logits.empty());
    const tier::ExpertStatistics text = (*tiered)->offload().experts().since(before);
    return static_cast<double>(text.hits) / static_cast<double>(text.used);
  };
  const double first = hits_of_a_text();
  EXPECT_GT(hits_of_a_text(), first) << "what the first one used most is there";
}

}  // namespace
}  // namespace strata::tests
