// Layers lie on a device with memory of its own. The tokens are the same, and the device never holds a byte
// more than its budget.

#include <gtest/gtest.h>

#include <array>
#include <chrono>

#include "engine/engine.h"
#include "synth_model.h"
#include "test_device.h"
#include "tiered_model.h"

namespace brimful::tests {
namespace {

constexpr std::size_t kPrompts[] = {1, 9, 40, 600};
constexpr int kSequences = 12;
constexpr int kSteps = 3;

/// How much of a model lies where in a test.
struct Offload {
  /// The number of layers on the device. One more than the model has: the output lies there, too.
  std::uint32_t layers = 0;
  unsigned percent = 100;  ///< The percentage of the host's weights that stay in its memory.
  Bytes ring = {};         ///< The ring for weights that are sent for batches.
};

/// What sequences get that decode together, each after a prompt of its own.
std::vector<std::vector<float>> together(llama_context* context) {
  llama_memory_clear(llama_get_memory(context), true);
  const std::vector<llama_token> tokens = some_tokens(context, kSequences + 4);
  std::vector<std::vector<float>> out;
  for (const int step : {0, 1}) {
    SequenceBatch batch;
    for (llama_seq_id s = 0; s < kSequences; ++s) {
      const auto from = tokens.begin() + s;
      batch.add(s, 3 * step, step == 0 ? std::vector(from, from + 3) : std::vector(from + 3, from + 4));
    }
    for (std::vector<float>& logits : outputs_of(context, batch)) out.push_back(std::move(logits));
  }
  return out;
}

void expect_same_logits(const std::filesystem::path& path, Settings settings,
                        std::span<const Offload> offloads) {
  settings.sequences = settings.outputs = kSequences;
  const PlainModel plain(path, settings);
  ASSERT_NE(plain.context(), nullptr) << path;
  std::vector<Trace> expected;
  for (const std::size_t length : kPrompts)
    expected.push_back(trace(plain.context(), some_tokens(plain.context(), length), kSteps));
  const auto expected_together = together(plain.context());
  ASSERT_EQ(expected_together.size(), 2U * kSequences);
  for (const Offload& offload : offloads) {
    SCOPED_TRACE(testing::Message() << path.filename() << ": " << offload.layers << " layers there, "
                                    << offload.percent << "% of the rest in memory");
    TestDevice device({.threads = settings.threads});
    auto tiered = TieredModel::load(path, settings, percent_of_weights(offload.percent), {},
                                    {&device, offload.layers, offload.ring});
    ASSERT_TRUE(tiered) << tiered.error().message;
    for (std::size_t i = 0; i < expected.size(); ++i) {
      const Trace got = trace((*tiered)->context(), some_tokens(plain.context(), kPrompts[i]), kSteps);
      EXPECT_TRUE(got == expected[i]) << "prompt of " << kPrompts[i] << " tokens";
    }
    EXPECT_TRUE(together((*tiered)->context()) == expected_together) << kSequences << " sequences together";
    EXPECT_EQ(device.nodes_computed() > 0, offload.layers > 0 || offload.ring > Bytes{});
    EXPECT_EQ(device.used(), (*tiered)->device_pool().reserved());
  }
}

// Rows have the order of the file everywhere, so that the CPU and the device use the same kernels.
constexpr Settings kSettings{.file_order = true};

TEST(Offload, Stories15M) {
  const auto path = stories15m();
  if (path.empty()) GTEST_SKIP() << "no stories15M: make it with scripts/demo";
  expect_same_logits(path, kSettings, std::vector<Offload>{{0}, {1}, {3}, {3, 50}, {3, 0}, {6}, {7}});
}

TEST(Offload, WeightsAreSentForBatches) {
  const auto path = stories15m();
  if (path.empty()) GTEST_SKIP() << "no stories15M: make it with scripts/demo";
  expect_same_logits(path, {}, std::vector<Offload>{{0, 100, kMiB * 4}, {2, 50, kMiB * 3}, {3, 0, kMiB * 2}});
}

constexpr std::array kSome{Offload{2}, Offload{1, 50, kMiB * 2}};

TEST(Offload, WithoutFlashAttention) {
  const TemporaryDirectory directory;
  const auto path = synth_model(directory, {.like = "llama-tiny", .type = "Q6_K"});
  ASSERT_FALSE(path.empty());
  expect_same_logits(path, {.flash_attention = LLAMA_FLASH_ATTN_TYPE_DISABLED, .file_order = true}, kSome);
}

TEST(Offload, WithAQuantisedCache) {
  const TemporaryDirectory directory;
  const auto path = synth_model(directory, {.like = "llama-tiny", .type = "Q8_0"});
  ASSERT_FALSE(path.empty());
  expect_same_logits(
      path,
      {.flash_attention = LLAMA_FLASH_ATTN_TYPE_ENABLED, .cache_type = GGML_TYPE_Q8_0, .file_order = true},
      kSome);
}

class OffloadOfType : public testing::TestWithParam<const char*> {};

TEST_P(OffloadOfType, SyntheticLlama) {
  const TemporaryDirectory directory;
  const auto path = synth_model(directory, {.like = "llama-tiny", .type = GetParam()});
  ASSERT_FALSE(path.empty());
  expect_same_logits(path, kSettings, kSome);
}

INSTANTIATE_TEST_SUITE_P(All, OffloadOfType,
                         testing::Values("F32", "BF16", "Q8_0", "Q6_K", "Q5_K", "Q4_0", "Q3_K", "Q2_K",
                                         "IQ4_XS", "IQ2_XXS", "MXFP4"),
                         [](const auto& test) { return std::string(test.param); });

struct Prompt {
  double seconds = 0;
  Bytes sent;
  TestDevice::Times device;
};

/// Computes a prompt twice, and measures the second time, when the order of the weights is known.
Prompt prompt_over_link(const std::filesystem::path& path, double bytes_per_s) {
  TestDevice device({.bytes_per_s = bytes_per_s});
  const auto tiered = TieredModel::load(path, {.ubatch = 256}, percent_of_weights(100), {},
                                        {.device = &device, .ring = kMiB * 4});
  EXPECT_TRUE(tiered) << tiered.error().message;
  if (!tiered) return {};
  const auto tokens = some_tokens((*tiered)->context(), 256);
  EXPECT_FALSE(trace((*tiered)->context(), tokens, 0).logits.empty());
  const Bytes sent = device.received();
  const TestDevice::Times times = device.times();
  const auto begin = std::chrono::steady_clock::now();
  EXPECT_FALSE(trace((*tiered)->context(), tokens, 0).logits.empty());
  const std::chrono::duration<double> took = std::chrono::steady_clock::now() - begin;
  const TestDevice::Times after = device.times();
  return {took.count(),
          device.received() - sent,
          {after.computing - times.computing, after.copying - times.copying, after.both - times.both}};
}

// The link takes several times as long as the computing, also where that gets slower beside the copies, so
// the computing is hidden behind it.
TEST(Offload, ComputesWhileWeightsAreSent) {
  const auto path = stories15m();
  if (path.empty()) GTEST_SKIP() << "no stories15M: make it with scripts/demo";
  const Prompt fast = prompt_over_link(path, 0);
  EXPECT_GT(fast.sent, kMiB * 20) << "all that the layers have";
  const Prompt slow = prompt_over_link(path, static_cast<double>(fast.sent.value) / (8 * fast.seconds));
  EXPECT_GT(slow.device.both, slow.device.computing * 0.3) << "one after the other it would be none";
  EXPECT_GT(slow.device.copying, slow.device.computing);
  RecordProperty("seconds_by_larger", std::to_string(slow.seconds / slow.device.copying.count()));
}

class OffloadOfArchitecture : public testing::TestWithParam<const char*> {};

TEST_P(OffloadOfArchitecture, Synthetic) {
  const TemporaryDirectory directory;
  const auto path = synth_model(directory, {.like = GetParam(), .type = "Q4_K"});
  ASSERT_FALSE(path.empty());
  expect_same_logits(path, kSettings, std::vector<Offload>{{1}, {1, 50}, {1, 50, kMiB * 2}, {100}});
}

INSTANTIATE_TEST_SUITE_P(All, OffloadOfArchitecture,
                         testing::Values("llama-tiny", "qwen3", "gemma3", "phi3", "mixtral", "qwen3moe",
                                         "gpt-oss", "deepseek2", "glm4moe", "falcon-h1"),
                         [](const auto& test) {
                           std::string name = test.param;
                           std::ranges::replace(name, '-', '_');
                           return name;
                         });

/// Returns greedy tokens that follow `prompt`.
std::vector<llama_token> generate(engine::Engine& engine, std::vector<llama_token> next, int count) {
  std::vector<llama_token> out;
  const int vocabulary = llama_vocab_n_tokens(engine.vocab());
  for (int i = 0; i < count; ++i) {
    if (!engine.decode(next)) return {};
    const float* const logits = llama_get_logits_ith(engine.context(), -1);
    next = {static_cast<llama_token>(std::max_element(logits, logits + vocabulary) - logits)};
    out.push_back(next.front());
  }
  return out;
}

const engine::ContextOptions kContext{.context = 512, .ubatch = 64, .least_context = 512};

struct Filled {
  std::vector<llama_token> tokens;
  plan::DeviceShare share;
  Bytes peak;
};

/// A model on a device that has no byte more than its budget.
Result<Filled> run_with(const std::filesystem::path& path, Bytes budget,
                        const std::vector<llama_token>& prompt) {
  TestDevice device({.capacity = budget});
  BRIMFUL_TRY(const auto engine, engine::Engine::open({.model = path,
                                                       .ram = kGiB,
                                                       .threads = 2,
                                                       .threads_batch = 2,
                                                       .offload = {{device.handle(), budget}}}));
  BRIMFUL_TRY_VOID(engine->prepare(kContext));
  BRIMFUL_TRY_VOID(engine->start({}));
  Filled out{generate(*engine, prompt, 8), engine->devices().at(0).share, {}};
  out.peak = device.peak();
  return out;
}

TEST(Offload, FillsTheBudgetAndNotAByteMore) {
  const auto path = stories15m();
  if (path.empty()) GTEST_SKIP() << "no stories15M: make it with scripts/demo";
  const PlainModel plain(path, {.context = 512, .ubatch = 64});
  const std::vector<llama_token> prompt = some_tokens(plain.context(), 100);
  const std::vector<llama_token> expected = trace(plain.context(), prompt, 7).tokens;
  Bytes before;
  for (const std::uint64_t mib : {1, 4, 8, 16, 24, 40, 64, 128}) {
    SCOPED_TRACE(testing::Message() << mib << " MiB");
    const auto filled = run_with(path, kMiB * mib, prompt);
    ASSERT_TRUE(filled) << filled.error().message;
    EXPECT_EQ(filled->tokens, expected);
    const plan::DeviceShare& share = filled->share;
    EXPECT_LE(filled->peak, share.budget);
    EXPECT_EQ(share.weights + share.kv_cache + share.compute + share.ring + share.unused, share.budget);
    EXPECT_GE(share.weights, before) << "more memory holds no less";
    before = share.weights;
    // The output has 35 MiB, a layer 3.3 MiB: 1.9 with the attention and its KV cache, and less is not worth
    // that the hidden state crosses the link for it.
    if (mib >= 8 && mib <= 24) {
      EXPECT_LE(share.unused, kMiB * 2);
    }
  }
  EXPECT_GT(before, kMiB * 50) << "all of it";
}

TEST(Offload, TakesNoRingWhereNothingCouldBeSent) {
  const TemporaryDirectory directory;
  const auto path = synth_model(directory, {.like = "qwen3moe", .type = "Q4_K"});
  ASSERT_FALSE(path.empty());
  const auto run = [&](Bytes budget) { return run_with(path, budget, {1, 2, 3}); };
  const auto whole = run(kMiB * 256);
  ASSERT_TRUE(whole) << whole.error().message;
  EXPECT_EQ(whole->share.ring, Bytes{});
  // Everything except for a part of the experts.
  const auto most = run(whole->share.budget - whole->share.unused - kMiB);
  ASSERT_TRUE(most) << most.error().message;
  EXPECT_LT(most->share.weights, whole->share.weights);
  EXPECT_EQ(most->share.ring, Bytes{});
}

TEST(Offload, WeightsAreSentFromAsManyTokensOnAsPays) {
  const auto path = stories15m();
  if (path.empty()) GTEST_SKIP() << "no stories15M: make it with scripts/demo";
  const PlainModel plain(path, {.context = 512, .ubatch = 64, .file_order = true});
  const std::vector<llama_token> prompt = some_tokens(plain.context(), 20);
  const std::vector<llama_token> expected = trace(plain.context(), prompt, 7).tokens;
  for (const std::int64_t from : {8, 20, 21, 1000}) {
    SCOPED_TRACE(from);
    TestDevice device({});
    const auto engine = engine::Engine::open(
        {.model = path,
         .ram = kGiB,
         .threads = 2,
         .threads_batch = 2,
         .offload = {{device.handle(), kMiB * 16}},
         .transfer_policy = [&](const auto&) { return plan::TransferPolicy{.min_batch = from}; }});
    ASSERT_TRUE(engine) << engine.error().message;
    ASSERT_TRUE((*engine)->prepare(kContext));
    ASSERT_TRUE((*engine)->start({}));
    EXPECT_EQ((*engine)->devices().at(0).share.ring > Bytes{}, from <= 64) << "a ubatch";
    EXPECT_EQ(generate(**engine, prompt, 8), expected);
    EXPECT_EQ((*engine)->devices().at(0).sent > Bytes{}, from <= 20);
  }
}

/// What sequences get that decode together, and the bytes that this sends to the device.
struct Together {
  std::vector<std::vector<float>> logits;
  Bytes sent;
  Bytes weights;  // on the device: the others are sent
  std::uint32_t host_layers = 0;
  bool fused_attention = false;
};

Result<Together> decode_together(const std::filesystem::path& path, std::int64_t min_heads_of_attention) {
  TestDevice device({});
  BRIMFUL_TRY(const auto engine,
              engine::Engine::open({.model = path,
                                    .ram = kGiB,
                                    .threads = 2,
                                    .threads_batch = 2,
                                    .offload = {{device.handle(), kMiB * 24}},
                                    .transfer_policy = [&](const auto&) {
                                      return plan::TransferPolicy{
                                          .min_batch = 8, .min_heads_of_attention = min_heads_of_attention};
                                    }}));
  BRIMFUL_TRY_VOID(engine->prepare(
      {.context = 512, .ubatch = 64, .sequences = kSequences, .shared_cells = true, .least_context = 512}));
  BRIMFUL_TRY_VOID(engine->start({}));
  const auto decode = [&](const llama_batch& batch) { return engine->decode(batch).has_value(); };
  const std::vector<llama_token> prompt = some_tokens(engine->context(), 40);
  for (llama_seq_id s = 0; s < kSequences; ++s) {
    SequenceBatch batch;
    batch.add(s, 0, prompt);
    if (outputs_of(engine->context(), batch, decode).empty())
      return fail(ErrorCode::kInternal, "a prompt failed");
  }
  SequenceBatch next;
  for (llama_seq_id s = 0; s < kSequences; ++s) next.add(s, static_cast<llama_pos>(prompt.size()), {s + 5});
  const Bytes before = device.received();
  Together out{.logits = outputs_of(engine->context(), next, decode)};
  out.sent = device.received() - before;
  out.fused_attention = !device.cells().empty();
  out.weights = engine->devices().at(0).share.weights;
  out.host_layers =
      static_cast<std::uint32_t>(llama_model_n_layer(engine->model())) - engine->devices().at(0).share.layers;
  return out;
}

// The cells of the host's KV cache cross the link for prompts. Where many sequences decode together, that
// would take longer than attention takes the cores.
TEST(Offload, CellsOfTheHostStayThereWhereSequencesDecodeTogether) {
  const auto path = stories15m();
  if (path.empty()) GTEST_SKIP() << "no stories15M: make it with scripts/demo";
  const auto cross = decode_together(path, 1);
  const auto stay = decode_together(path, 1000);
  ASSERT_TRUE(cross && stay);
  ASSERT_GT(stay->host_layers, 0U);
  EXPECT_TRUE(stay->fused_attention && cross->fused_attention)
      << "as many sequences as tokens that are sent for";
  EXPECT_EQ(stay->logits.size(), kSequences);
  EXPECT_TRUE(stay->logits == cross->logits);
  const Bytes cells{512 * 288 * 2 * 2};  // of a layer: keys and values of 288 numbers in F16
  // Not all of it is saved: the results of attention cross.
  EXPECT_GE(cross->sent + cross->weights,
            stay->sent + stay->weights + Bytes{cells.value * stay->host_layers / 10 * 9});
}

TEST(Offload, EveryDeviceGetsItsPartOfWhatIsSent) {
  const auto path = stories15m();
  if (path.empty()) GTEST_SKIP() << "no stories15M: make it with scripts/demo";
  const PlainModel plain(path, {.context = 512, .ubatch = 64, .file_order = true});
  const std::vector<llama_token> prompt = some_tokens(plain.context(), 100);
  const std::vector<llama_token> expected = trace(plain.context(), prompt, 7).tokens;
  TestDevice first({});
  TestDevice second({.name = "TEST1"});
  const auto engine =
      engine::Engine::open({.model = path,
                            .ram = kGiB,
                            .threads = 2,
                            .threads_batch = 2,
                            .offload = {{first.handle(), kMiB * 10}, {second.handle(), kMiB * 16}}});
  ASSERT_TRUE(engine) << engine.error().message;
  ASSERT_TRUE((*engine)->prepare(kContext));
  ASSERT_TRUE((*engine)->start({}));
  EXPECT_EQ(generate(**engine, prompt, 8), expected);
  for (const engine::DeviceUse& use : (*engine)->devices()) {
    EXPECT_GT(use.sent, Bytes{}) << use.share.name;
    EXPECT_FALSE(use.share.sent_layers.empty()) << use.share.name;
  }
  EXPECT_LE(first.used(), kMiB * 10);
  EXPECT_LE(second.used(), kMiB * 16);
}

TEST(Offload, SendsFromPinnedMemoryOrSaysSo) {
  const auto path = stories15m();
  if (path.empty()) GTEST_SKIP() << "no stories15M: make it with scripts/demo";
  for (const bool pins : {true, false}) {
    SCOPED_TRACE(pins);
    TestDevice device({.has_pinned = true, .pins = pins});
    {
      const auto engine = engine::Engine::open({.model = path,
                                                .ram = kGiB,
                                                .threads = 2,
                                                .threads_batch = 2,
                                                .offload = {{device.handle(), kMiB * 16}}});
      ASSERT_TRUE(engine) << engine.error().message;
      ASSERT_TRUE((*engine)->prepare(kContext));
      ASSERT_TRUE((*engine)->start({}));
      ASSERT_GT((*engine)->devices().at(0).share.ring, Bytes{});
      const Bytes cells{512 * 288 * 2 * 2};  // of a layer: keys and values of 288 numbers in F16
      const auto pinned = [&] {
        return TestDevice::pinned() >= (*engine)->memory_map().resident_weights + cells;
      };
      EXPECT_EQ(pinned(), pins);
      const auto says_so = [](const std::string& note) { return note.contains("could not pin"); };
      EXPECT_EQ(std::ranges::any_of((*engine)->notes(), says_so), !pins);
      const Status changed = (*engine)->change_budgets({.ram = kMiB * 900});
      ASSERT_TRUE(changed) << changed.error().message;
      EXPECT_EQ(pinned(), pins) << "and again, where the weights now lie";
    }
    EXPECT_EQ(TestDevice::pinned(), Bytes{});
  }
}

TEST(Offload, ADeviceThatFailsIsAnErrorThatNamesIt) {
  const auto path = stories15m();
  if (path.empty()) GTEST_SKIP() << "no stories15M: make it with scripts/demo";
  const Settings settings{.context = 256, .ubatch = 64, .file_order = true};
  TestDevice good({});
  ASSERT_TRUE(TieredModel::load(path, settings, percent_of_weights(100), {}, {&good, 3, kMiB * 4}));
  ASSERT_GE(good.allocations(), 4) << "KV cache, compute, ring, weights";
  for (int nth = 0; nth < good.allocations(); ++nth) {
    TestDevice device({.fail_allocation = nth});
    const auto tiered =
        TieredModel::load(path, settings, percent_of_weights(100), {}, {&device, 3, kMiB * 4});
    ASSERT_FALSE(tiered) << nth;
    EXPECT_NE(tiered.error().message.find("TEST0"), std::string::npos) << tiered.error().message;
  }
  TestDevice device({.fail_graph = 1});
  auto tiered =
      TieredModel::load(path, {.context = 256, .ubatch = 64}, percent_of_weights(100), {}, {&device, 3});
  ASSERT_TRUE(tiered) << tiered.error().message;
  EXPECT_FALSE(trace((*tiered)->context(), {1, 2, 3}, 0).logits.empty());
  EXPECT_TRUE(trace((*tiered)->context(), {1, 2, 3}, 0).logits.empty());
  EXPECT_FALSE(trace((*tiered)->context(), {1, 2, 3}, 0).logits.empty()) << "the next one is computed again";
}

// Whichever copy fails, there is an error, and never a wrong token.
TEST(Offload, ACopyThatFailsIsAnErrorThatNamesTheDevice) {
  const TemporaryDirectory directory;
  const auto path = synth_model(directory, {.like = "qwen3moe", .type = "Q4_K"});
  ASSERT_FALSE(path.empty());
  const Settings settings{.context = 256, .ubatch = 64, .threads = 1, .file_order = true};
  const auto load = [&](TestDevice& device) {
    return TieredModel::load(path, settings, percent_of_weights(50), {},
                             {.device = &device, .layers = 2, .ring = kMiB * 4, .slots = 2});
  };
  TestDevice good({.threads = 1});
  std::vector<llama_token> prompt;
  Trace expected;
  int loaded = 0;
  {
    const auto tiered = load(good);
    ASSERT_TRUE(tiered) << tiered.error().message;
    loaded = good.copies();
    prompt = some_tokens((*tiered)->context(), 50);
    expected = trace((*tiered)->context(), prompt, 3);
    ASSERT_FALSE(expected.logits.empty());
  }
  ASSERT_GT(loaded, 10);
  ASSERT_GT(good.copies(), loaded + 50);
  std::vector<int> some{0, loaded / 2, loaded - 1, loaded, loaded + 1};
  for (int nth = loaded + 2; nth < good.copies(); nth += (good.copies() - loaded) / 12) some.push_back(nth);
  for (const int nth : some) {
    SCOPED_TRACE(testing::Message() << "copy " << nth << " of " << good.copies());
    TestDevice device({.threads = 1, .fail_copy = nth});
    const auto tiered = load(device);
    ASSERT_TRUE(tiered) << tiered.error().message;
    Trace got = trace((*tiered)->context(), prompt, 3);
    if (!got.logits.empty()) {  // The copy brought an expert for the next step.
      EXPECT_TRUE(got.logits == expected.logits);
      got = trace((*tiered)->context(), prompt, 3);
    }
    EXPECT_TRUE(got.logits.empty()) << "sooner or later";
    const auto error = (*tiered)->offload().take_error();
    ASSERT_TRUE(error);
    EXPECT_NE(error->message.find("TEST0"), std::string::npos) << error->message;
  }
}

}  // namespace
}  // namespace brimful::tests
