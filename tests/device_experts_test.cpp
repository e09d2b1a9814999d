// Experts in the slots of a device that computes before the host. The tokens are the same, whatever the
// places of the weights.

#include <gtest/gtest.h>

#include "engine/engine.h"
#include "model/model_profile.h"
#include "sanitized.h"
#include "synth_model.h"
#include "test_device.h"
#include "tiered_model.h"

namespace brimful::tests {
namespace {

constexpr Settings kSettings{
    .context = 1024, .ubatch = 128, .threads = 1, .sequences = 12, .outputs = 12, .file_order = true};
constexpr int kSteps = 4;

/// The results for a prompt of each length with greedy tokens after it, and for sequences that decode
/// together.
struct Texts {
  std::vector<Trace> alone;
  std::vector<std::vector<float>> together;
  bool operator==(const Texts&) const = default;
};

Texts texts_of(llama_context* context) {
  Texts out;
  for (const std::size_t length : {1, 9, 40, 600})
    out.alone.push_back(trace(context, some_tokens(context, length), kSteps));
  llama_memory_clear(llama_get_memory(context), true);
  SequenceBatch batch;
  const auto tokens = some_tokens(context, 24);
  for (llama_seq_id s = 0; s < 12; ++s) batch.add(s, 0, {tokens.at(static_cast<std::size_t>(s) * 2)});
  out.together = outputs_of(context, batch);
  return out;
}

struct Case {
  std::uint32_t layers = 100;
  std::uint32_t more_slots = 0;  ///< Than a token picks experts.
  bool send = false;
  unsigned percent = 100;  ///< The percentage of the host's weights that stay in its memory.
  Bytes ring = {};
};

class GpuExperts : public testing::TestWithParam<const char*> {};

TEST_P(GpuExperts, SameTokens) {
  const TemporaryDirectory directory;
  const auto path = synth_model(directory, {.like = GetParam(), .type = "Q4_K"});
  ASSERT_FALSE(path.empty());
  const PlainModel plain(path, kSettings);
  ASSERT_NE(plain.context(), nullptr);
  const Texts expected = texts_of(plain.context());
  ASSERT_EQ(expected.together.size(), 12U);
  const auto profile = model::read_model(path);
  ASSERT_TRUE(profile) << profile.error().message;
  for (const Case& c : std::vector<Case>{{.more_slots = 0},
                                         {.more_slots = 1, .percent = 50},
                                         {.more_slots = 1, .percent = 0},
                                         {.layers = 2, .more_slots = 0, .ring = kMiB * 4},
                                         {.more_slots = 2, .send = true},
                                         {.more_slots = 2, .send = true, .percent = 50},
                                         {.more_slots = 2, .send = true, .percent = 0}}) {
    const std::uint32_t slots = profile->experts_used + c.more_slots;
    SCOPED_TRACE(testing::Message() << slots << " slots, " << c.percent << "% of the rest in memory"
                                    << (c.send ? ", what is missing is sent" : ""));
    TestDevice device({.threads = 1});
    const auto tiered = TieredModel::load(
        path, kSettings, percent_of_weights(c.percent), {},
        {.device = &device, .layers = c.layers, .ring = c.ring, .slots = slots, .send_experts = c.send});
    ASSERT_TRUE(tiered) << tiered.error().message;
    EXPECT_TRUE(texts_of((*tiered)->context()) == expected);
    const tier::ExpertStatistics experts = (*tiered)->offload().experts();
    EXPECT_GT(experts.hits, 0U);
    EXPECT_LT(experts.hits, experts.used);
    if (c.ring > Bytes{}) {
      EXPECT_GT((*tiered)->offload().sent(), Bytes{}) << "all the experts, for the longest prompt";
    }
    if (c.send) {
      EXPECT_EQ(experts.read, experts.missed);
    }
    EXPECT_TRUE(texts_of((*tiered)->context()) == expected) << "now that others lie there";
    EXPECT_LE(device.used(), (*tiered)->device_pool().reserved());
  }
}

INSTANTIATE_TEST_SUITE_P(All, GpuExperts,
                         testing::Values("mixtral", "qwen3moe", "gpt-oss", "deepseek2", "glm4moe"),
                         test_name);

// Experts that the host has in slots are sent from there, and only the others are read from disk.
TEST(GpuExperts, ABatchReadsOnlyExpertsThatAreInNoSlot) {
  const TemporaryDirectory directory;
  const auto path = synth_model(directory, {.like = "qwen3moe", .type = "F32"});
  ASSERT_FALSE(path.empty());
  const PlainModel plain(path, kSettings);
  const std::vector<llama_token> prompt = some_tokens(plain.context(), 100);
  const Trace expected = trace(plain.context(), prompt, kSteps);
  TestDevice device({.threads = 1});
  const auto tiered = TieredModel::load(path, kSettings, percent_of_weights(60), {},
                                        {.device = &device, .layers = 1, .ring = kMiB * 32});
  ASSERT_TRUE(tiered) << tiered.error().message;
  const plan::Placement& placement = (*tiered)->placement();
  ASSERT_FALSE(placement.groups.empty());
  const plan::ExpertGroup& group = placement.groups.front();
  ASSERT_GE(group.slots * 3, group.experts);
  const Trace first = trace((*tiered)->context(), prompt, 0);
  ASSERT_FALSE(first.logits.empty());
  EXPECT_TRUE(first.logits.front() == expected.logits.front());
  // Nearly all that is sent is experts, and all other weights lie in memory.
  EXPECT_EQ(placement.streamed_per_pass, Bytes{});
  const Bytes sent = (*tiered)->offload().sent();
  const Bytes from_disk = (*tiered)->offload().statistics().read;
  EXPECT_GT(from_disk, Bytes{});
  EXPECT_LE(from_disk.value * group.experts, sent.value * (group.experts - group.slots + 1));
  // Steps give slots to other experts while what is sent ahead for the next batch may be borrowed.
  for (int i = 0; i < 3; ++i) EXPECT_TRUE(trace((*tiered)->context(), prompt, kSteps) == expected) << i;
}

// The budget holds all weights that every token uses and a part of the experts. The tokens stay the same
// while it changes, because the host has the file's layout, and so the kernels of the test device.
TEST(GpuExperts, FillWhatADeviceHasLeft) {
  const TemporaryDirectory directory;
  const auto path = synth_model(directory, {.like = "qwen3moe", .type = "Q4_K"});
  ASSERT_FALSE(path.empty());
  const PlainModel plain(path, {.context = 512, .ubatch = 64, .threads = 1, .file_order = true});
  const std::vector<llama_token> prompt = some_tokens(plain.context(), 80);
  const std::vector<llama_token> expected = trace(plain.context(), prompt, 19).tokens;
  TestDevice device({.capacity = kMiB * 64, .threads = 1});
  const auto engine = engine::Engine::open({.model = path,
                                            .ram = kSanitized ? kGiB : kMiB * 200,
                                            .offload = {{device.handle(), kMiB * 64}},
                                            .host_layout = plan::all_in_file_order});
  ASSERT_TRUE(engine) << engine.error().message;
  ASSERT_TRUE((*engine)->prepare({.context = 512, .ubatch = 64, .least_context = 512}));
  ASSERT_TRUE((*engine)->start({}));
  const plan::DeviceShare all = (*engine)->devices().at(0).share;
  EXPECT_TRUE(all.groups.empty()) << "they all fit";
  const Bytes whole = all.peak();
  std::vector<llama_token> got;
  std::vector<llama_token> next = prompt;
  const auto go_on = [&] {
    for (int i = 0; i < 4; ++i) {
      ASSERT_TRUE((*engine)->decode(next));
      const float* const logits = llama_get_logits_ith((*engine)->context(), -1);
      next = {static_cast<llama_token>(
          std::max_element(logits, logits + llama_vocab_n_tokens((*engine)->vocab())) - logits)};
      got.push_back(next.front());
    }
  };
  go_on();
  std::uint32_t before = UINT32_MAX;
  for (const std::uint64_t less : {1, 2, 3}) {
    const Bytes budget = whole - Bytes{all.weights.value / 5 * less};
    SCOPED_TRACE(format_bytes(budget));
    const Status changed = (*engine)->change_budgets({.vram = {{"TEST0", budget}}});
    ASSERT_TRUE(changed) << changed.error().message;
    const auto [share, sent, experts, card] = (*engine)->devices().at(0);
    ASSERT_FALSE(share.groups.empty());
    EXPECT_EQ(share.weights + share.experts + share.kv_cache + share.compute + share.ring + share.unused,
              budget);
    EXPECT_LE(device.used(), budget);
    EXPECT_EQ(share.layers, all.layers);
    EXPECT_LE(share.groups.back().slots, before);
    before = share.groups.back().slots;
    EXPECT_LT(share.unused, kMiB);
    go_on();
    EXPECT_GT((*engine)->devices().at(0).experts.used, experts.used);
  }
  go_on();
  EXPECT_EQ(got, expected);
}

// Requests that run together have as many results as there are of them, and prompts of different lengths meet
// in one pass. The buffers for all of that were there before the first one.
TEST(GpuExperts, ServeManySequencesInTheBudget) {
  const TemporaryDirectory directory;
  const auto path = synth_model(directory, {.like = "qwen3moe", .type = "Q4_K"});
  ASSERT_FALSE(path.empty());
  constexpr int kSequences = 32;
  for (const std::uint64_t mib : {8, 10, 12}) {
    SCOPED_TRACE(mib);
    TestDevice device({.capacity = kMiB * mib, .threads = 1});
    const auto engine = engine::Engine::open({.model = path,
                                              .ram = kSanitized ? kGiB : kMiB * 400,
                                              .threads = 1,
                                              .threads_batch = 1,
                                              .offload = {{device.handle(), kMiB * mib}}});
    ASSERT_TRUE(engine) << engine.error().message;
    ASSERT_TRUE(
        (*engine)->prepare({.context = 1024, .ubatch = 64, .sequences = kSequences, .shared_cells = true}));
    ASSERT_TRUE((*engine)->start({}));
    EXPECT_FALSE((*engine)->devices().at(0).share.groups.empty());
    const auto compute = [&](int first, int count, int length) {
      SequenceBatch batch;
      for (llama_seq_id s = first; s < first + count; ++s) {
        const auto at = llama_memory_seq_pos_max(llama_get_memory((*engine)->context()), s) + 1;
        batch.add(s, at, std::vector<llama_token>(static_cast<std::size_t>(length), s + 3));
      }
      std::optional<Error> error;
      const auto results = outputs_of((*engine)->context(), batch, [&](const llama_batch& all) {
        const Status done = (*engine)->decode(all);
        if (!done) error = done.error();
        return done.has_value();
      });
      EXPECT_EQ(results.size(), static_cast<std::size_t>(count)) << (error ? error->message : "");
    };
    const int allocations = device.allocations();
    for (const int length : {1, 2, 5, 12, 30}) compute(0, std::min(kSequences, 64 / length), length);
    for (const int count : {1, 2, 5, 31, 32}) compute(0, count, 1);
    EXPECT_EQ(device.allocations(), allocations);
    EXPECT_LE(device.peak(), kMiB * mib);
  }
}

/// A model whose router takes few experts most of the time. All of it but the experts lies on the device,
/// which has this many slots for each layer.
Result<std::unique_ptr<TieredModel>> with_skewed_router(TestDevice& device, std::uint32_t slots,
                                                        const char* type = "Q4_K") {
  const TemporaryDirectory directory;  // an open model keeps its files
  const auto path = synth_model(directory, {.like = "qwen3moe", .type = type, .router = "skewed"});
  if (path.empty()) return fail(ErrorCode::kIo, "the model could not be written");
  return TieredModel::load(path, kSettings, percent_of_weights(100), {},
                           {.device = &device, .layers = 100, .slots = slots});
}

// CUDA knows a graph by its first node, and records it again when anything has changed. Whichever experts
// are missing, the steps have two shapes, and each is recorded once.
TEST(GpuExperts, StepsAreRecordedOnceWhateverIsMissing) {
  TestDevice device({.threads = 1});
  const auto tiered = with_skewed_router(device, 8);
  ASSERT_TRUE(tiered) << tiered.error().message;
  EXPECT_FALSE(trace((*tiered)->context(), {1, 2, 3}, 40).logits.empty());
  const tier::ExpertStatistics before = (*tiered)->offload().experts();
  const int recorded = device.recorded();
  const int without_uid = device.without_uid();
  EXPECT_FALSE(trace((*tiered)->context(), {1, 2, 3}, 40).logits.empty());
  const tier::ExpertStatistics after = (*tiered)->offload().experts().since(before);
  EXPECT_GT(after.hits, 0U);
  EXPECT_LT(after.hits, after.used);
  // The prompt is another shape than a step, and attention over more than 256 cells another one than before.
  EXPECT_LE(device.recorded() - recorded, 3 * 10) << "of " << after.used << " steps";
  EXPECT_EQ(device.without_uid(), without_uid) << "nothing was sent";
  EXPECT_GT(device.optimized(), 0);
}

// An expert comes to its slot while the device and the host compute, and is used from the next step on.
TEST(GpuExperts, NobodyWaitsForAnExpertThatComesToTheDevice) {
  TestDevice device({.threads = 1});
  const auto tiered =
      with_skewed_router(device, 8, "F32");  // its experts are larger than what a driver stages
  ASSERT_TRUE(tiered) << tiered.error().message;
  const int blocking = device.blocking_copies();
  EXPECT_FALSE(trace((*tiered)->context(), {1, 2, 3}, 60).logits.empty());
  EXPECT_GT((*tiered)->offload().experts().read, Bytes{}) << "some came";
  EXPECT_EQ(device.blocking_copies(), blocking);
}

TEST(GpuExperts, WhatIsUsedMostComesToTheDevice) {
  TestDevice device({.threads = 1});
  const auto tiered = with_skewed_router(device, 4);
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
}  // namespace brimful::tests
