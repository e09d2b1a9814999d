// A device multiplies some rows of the host's matrices, while the cores multiply the others. The tokens are
// the same, and so is what a step costs, each time.

#include <gtest/gtest.h>

#include <algorithm>

#include "engine/engine.h"
#include "plan/kernel_rows.h"
#include "synth_model.h"
#include "test_device.h"
#include "tiered_model.h"

namespace brimful::tests {
namespace {

constexpr int kSequences = 12;
constexpr Settings kSettings{.context = 1024,
                             .ubatch = 128,
                             .threads = 1,
                             .sequences = kSequences,
                             .outputs = kSequences,
                             .file_order = true};

/// The results for prompts with greedy tokens after each, and for sequences that decode together.
struct Texts {
  std::vector<Trace> alone;
  std::vector<std::vector<float>> together;
  bool operator==(const Texts&) const = default;
};

Texts texts_of(llama_context* context) {
  Texts out;
  for (const std::size_t length : {1, 9, 40, 200})
    out.alone.push_back(trace(context, some_tokens(context, length), 4));
  llama_memory_clear(llama_get_memory(context), true);
  SequenceBatch batch;
  const auto tokens = some_tokens(context, kSequences);
  for (llama_seq_id s = 0; s < kSequences; ++s) batch.add(s, 0, {tokens.at(static_cast<std::size_t>(s))});
  out.together = outputs_of(context, batch);
  return out;
}

struct Case {
  std::uint32_t layers = 0;
  unsigned rows = 40;      ///< The percentage of the rows that the device multiplies.
  unsigned percent = 100;  ///< The percentage of the host's weights that stay in its memory.
  Bytes ring = kMiB * 6;
};

void expect_same_tokens(const std::filesystem::path& path, std::span<const Case> cases) {
  ASSERT_FALSE(path.empty());
  const PlainModel plain(path, kSettings);
  ASSERT_NE(plain.context(), nullptr);
  const Texts expected = texts_of(plain.context());
  ASSERT_EQ(expected.together.size(), static_cast<std::size_t>(kSequences));
  for (const Case& c : cases) {
    SCOPED_TRACE(testing::Message() << c.layers << " layers there, " << c.rows
                                    << "% of the rows of the rest, " << c.percent << "% in memory");
    TestDevice device({.threads = 1});
    const auto tiered =
        TieredModel::load(path, kSettings, percent_of_weights(c.percent), {},
                          {.device = &device, .layers = c.layers, .ring = c.ring, .rows = c.rows});
    ASSERT_TRUE(tiered) << tiered.error().message;
    const Bytes sent = (*tiered)->offload().sent();
    EXPECT_FALSE(trace((*tiered)->context(), {1, 2, 3}, 1).logits.empty());
    // A matrix of which some streams stays whole. With nothing in memory, these are all.
    const bool known = c.percent == 100 || c.percent == 0;
    EXPECT_TRUE(!known || ((*tiered)->offload().sent() > sent) == (c.percent == 100))
        << "in passes of few tokens";
    EXPECT_TRUE(texts_of((*tiered)->context()) == expected);
    EXPECT_TRUE(texts_of((*tiered)->context()) == expected) << "the second time";
    EXPECT_EQ(device.used(), (*tiered)->device_pool().reserved());
  }
}

class DeviceRowsOfArchitecture : public testing::TestWithParam<const char*> {};

TEST_P(DeviceRowsOfArchitecture, SameTokens) {
  const TemporaryDirectory directory;
  expect_same_tokens(
      synth_model(directory, {.like = GetParam(), .type = "Q4_K"}),
      std::vector<Case>{
          {}, {.layers = 1, .rows = 60, .ring = kKiB * 768}, {.rows = 20, .percent = 90}, {.percent = 0}});
}

INSTANTIATE_TEST_SUITE_P(All, DeviceRowsOfArchitecture,
                         testing::Values("llama-tiny", "qwen3", "gemma3", "phi3", "mixtral", "gpt-oss",
                                         "deepseek2", "falcon-h1"),
                         test_name);

class DeviceRowsOfType : public testing::TestWithParam<const char*> {};

TEST_P(DeviceRowsOfType, SameTokens) {
  const TemporaryDirectory directory;
  expect_same_tokens(synth_model(directory, {.like = "llama-tiny", .type = GetParam()}),
                     // The smaller ring may have no room for rows of gate and up at once (Q8_0).
                     std::vector<Case>{{}, {.ring = kKiB * 497}});
}

INSTANTIATE_TEST_SUITE_P(All, DeviceRowsOfType,
                         testing::Values("F32", "F16", "BF16", "Q8_0", "Q6_K", "Q5_K", "Q4_0", "Q3_K", "Q2_K",
                                         "IQ4_XS", "IQ2_XXS", "MXFP4"),
                         [](const auto& test) { return std::string(test.param); });

/// A dense model, all of it on the host, with rows for the device.
Result<std::unique_ptr<TieredModel>> dense(TestDevice& device, const std::filesystem::path& path,
                                           Bytes ring = kMiB * 6) {
  return TieredModel::load(path, kSettings, percent_of_weights(100), {},
                           {.device = &device, .ring = ring, .rows = 50});
}

// The link brings the next rows while the device multiplies those before, and while the cores compute.
TEST(DeviceRows, CrossWhileTheyAreMultiplied) {
  const TemporaryDirectory directory;
  const auto path = synth_model(directory, {.like = "llama-tiny", .type = "F32"});
  ASSERT_FALSE(path.empty());
  TestDevice device({.threads = 1, .bytes_per_s = 200e6});  // a link that everybody else waits for
  const auto tiered = dense(device, path);
  ASSERT_TRUE(tiered) << tiered.error().message;
  EXPECT_FALSE(trace((*tiered)->context(), {1}, 2).logits.empty());
  const TestDevice::Times before = device.times();
  const Bytes sent = (*tiered)->offload().sent();
  EXPECT_FALSE(trace((*tiered)->context(), {1}, 5).logits.empty());
  const TestDevice::Times after = device.times();
  EXPECT_GT((*tiered)->offload().sent(), sent);
  EXPECT_GT((after.both - before.both).count(), 0.3 * (after.computing - before.computing).count());
  EXPECT_GT(after.copying - before.copying, after.computing - before.computing);
}

// Each group of products is a graph that CUDA records once, because its nodes and its places stay the same.
TEST(DeviceRows, AreMultipliedByGraphsThatAreRecordedOnce) {
  const TemporaryDirectory directory;
  const auto path = synth_model(directory, {.like = "llama-tiny", .type = "Q8_0"});
  ASSERT_FALSE(path.empty());
  TestDevice device({.threads = 1});
  const auto tiered = dense(device, path);
  ASSERT_TRUE(tiered) << tiered.error().message;
  EXPECT_FALSE(trace((*tiered)->context(), {1}, 3).logits.empty());
  const int recorded = device.recorded();
  const int launches = device.launches();
  EXPECT_FALSE(trace((*tiered)->context(), {1}, 9).logits.empty());
  EXPECT_GT(device.launches(), launches);
  EXPECT_EQ(device.recorded(), recorded);
}

// A device with one connection for everything would keep the small copies of a step waiting for the large
// ones.
TEST(DeviceRows, StayWithTheHostWhereADeviceHasNoEvents) {
  const TemporaryDirectory directory;
  const auto path = synth_model(directory, {.like = "llama-tiny", .type = "Q8_0"});
  ASSERT_FALSE(path.empty());
  for (const bool events : {true, false}) {
    TestDevice device({.threads = 1, .events = events});
    const auto tiered = dense(device, path);
    ASSERT_TRUE(tiered) << tiered.error().message;
    EXPECT_FALSE(trace((*tiered)->context(), {1}, 2).logits.empty());
    EXPECT_EQ((*tiered)->offload().sent() > Bytes{}, events);
  }
}

/// The number of graphs and copies of a text, with what fails.
struct Fault {
  const char* what;
  int TestDevice::Options::*number;
  int (TestDevice::*count)() const;
};

// A pass that cannot be completed ends with the reason, and nothing waits for what will not come. The next
// text is computed from the beginning.
TEST(DeviceRows, AFaultOfTheDeviceEndsThePassWithAnError) {
  const TemporaryDirectory directory;
  const auto path = synth_model(directory, {.like = "llama-tiny", .type = "Q8_0"});
  ASSERT_FALSE(path.empty());
  const std::vector<llama_token> prompt{1, 2, 3};
  constexpr int kSteps = 3;
  for (const Fault& fault : {Fault{"graph", &TestDevice::Options::fail_graph, &TestDevice::launches},
                             Fault{"copy", &TestDevice::Options::fail_copy, &TestDevice::copies}}) {
    TestDevice good({.threads = 1});
    int loaded = 0;
    int all = 0;
    Trace expected;
    {
      const auto tiered = dense(good, path, kKiB * 768);
      ASSERT_TRUE(tiered) << tiered.error().message;
      loaded = (good.*fault.count)();
      expected = trace((*tiered)->context(), prompt, kSteps);
      all = (good.*fault.count)();
    }
    ASSERT_FALSE(expected.logits.empty());
    ASSERT_GT(all, loaded + 10);
    for (const int nth : {loaded, loaded + 1, (loaded + all) / 2, all - 4}) {
      SCOPED_TRACE(testing::Message() << fault.what << " " << nth << " of " << all);
      TestDevice::Options options{.threads = 1};
      options.*fault.number = nth;
      TestDevice device(options);
      // The rows of a pass do not fit the ring, so that slots are filled again while it goes on.
      const auto tiered = dense(device, path, kKiB * 768);
      ASSERT_TRUE(tiered) << tiered.error().message;
      Trace got = trace((*tiered)->context(), prompt, kSteps);
      if (!got.logits.empty()) {  // the copy was one for the next pass
        EXPECT_TRUE(got == expected);
        got = trace((*tiered)->context(), prompt, kSteps);
      }
      EXPECT_TRUE(got.logits.empty());
      const auto error = (*tiered)->device().take_error();
      ASSERT_TRUE(error);
      EXPECT_EQ(error->code, ErrorCode::kInternal);
      EXPECT_NE(error->message.find("TEST0 could not multiply rows of 'blk."), std::string::npos)
          << error->message;
      if (fault.number != &TestDevice::Options::fail_graph) continue;  // the device stays broken
      EXPECT_TRUE(trace((*tiered)->context(), prompt, kSteps) == expected);
    }
  }
}

/// A policy by which a device gets the last `percent` of the rows of all matrices in layers.
plan::TransferPolicy with_rows(const model::ModelProfile& profile, unsigned percent) {
  plan::TransferPolicy out{.min_batch = 64};
  for (std::uint32_t i = 0; i < profile.tensors.size(); ++i) {
    const model::TensorInfo& tensor = profile.tensors[i];
    const std::int64_t first = tensor.rows() * (100 - percent) / 100 / plan::kRowStep * plan::kRowStep;
    if (tensor.layer && tensor.rows() % plan::kKernelRows == 0 && first > 0) out.rows.push_back({i, first});
  }
  return out;
}

// The rows that a device gets depend on the layers that are sent to it. No device holds a byte more than its
// budget, and the ring with the buffers is a part of that.
TEST(DeviceRows, KeepToTheBudgetsOfSeveralDevices) {
  const auto path = stories15m();
  if (path.empty()) GTEST_SKIP() << "no stories15M: make it with scripts/demo";
  const PlainModel plain(path, {.context = 512, .ubatch = 64, .threads = 1, .file_order = true});
  const std::vector<llama_token> prompt = some_tokens(plain.context(), 20);
  const std::vector<llama_token> expected = trace(plain.context(), prompt, 7).tokens;
  for (const std::size_t count : {1U, 2U}) {
    SCOPED_TRACE(count);
    constexpr Bytes kBudget = kMiB * 12;
    TestDevice one({.capacity = kBudget, .threads = 1});
    TestDevice two({.name = "TEST1", .capacity = kBudget, .threads = 1});
    std::vector<engine::OffloadOption> offload{{one.handle(), kBudget}};
    if (count == 2) offload.push_back({two.handle(), kBudget});
    const auto engine = engine::Engine::open(
        {.model = path,
         .ram = kGiB,
         .threads = 1,
         .threads_batch = 1,
         .offload = offload,
         .placement_filter = [](const auto&, const auto&, const auto& tensor) { return !tensor.layer; },
         .transfer_policy = [](const model::ModelProfile& profile) { return with_rows(profile, 40); }});
    ASSERT_TRUE(engine) << engine.error().message;
    ASSERT_TRUE((*engine)->prepare({.context = 512, .ubatch = 64, .least_context = 512}));
    ASSERT_TRUE((*engine)->start({}));
    std::vector<llama_token> got;
    std::vector<llama_token> next = prompt;
    for (int i = 0; i < 8; ++i) {
      ASSERT_TRUE((*engine)->decode(next));
      const float* const logits = llama_get_logits_ith((*engine)->context(), -1);
      const int vocabulary = llama_vocab_n_tokens((*engine)->vocab());
      next = {static_cast<llama_token>(std::max_element(logits, logits + vocabulary) - logits)};
      got.push_back(next.front());
    }
    EXPECT_EQ(got, expected);
    for (std::size_t d = 0; d < count; ++d) {
      const engine::DeviceUse use = (*engine)->devices().at(d);
      EXPECT_FALSE(use.share.rows.empty());
      EXPECT_GT(use.sent, Bytes{});
      EXPECT_EQ(
          use.share.weights + use.share.kv_cache + use.share.compute + use.share.ring + use.share.unused,
          kBudget);
      EXPECT_LE((d == 0 ? one : two).peak(), kBudget);
    }
  }
}

}  // namespace
}  // namespace brimful::tests
