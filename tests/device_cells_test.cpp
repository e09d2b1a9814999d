// The KV cache of a layer may lie on a device while the host has the layer's weights, and the other way
// round. The tokens are the same, attention is computed where the cells lie, and a step leaves a place at
// most once in a layer.

#include <gtest/gtest.h>

#include <algorithm>
#include <array>

#include "engine/engine.h"
#include "synth_model.h"
#include "test_device.h"
#include "tiered_model.h"

namespace brimful::tests {
namespace {

/// How many of a model's first layers have their weights, and how many their cells, on the device.
struct Places {
  std::uint32_t weights = 0;
  std::uint32_t cells = 0;
  Bytes ring = {};
};

constexpr std::size_t kPrompts[] = {1, 40, 300};
constexpr int kSteps = 2;
constexpr std::array kPlaces{Places{0, 100}, Places{1, 0}, Places{0, 2, kMiB * 2}, Places{2, 1, kMiB * 2}};

void expect_same_logits(const std::filesystem::path& path, const Settings& settings) {
  ASSERT_FALSE(path.empty());
  const PlainModel plain(path, settings);
  ASSERT_NE(plain.context(), nullptr) << path;
  for (const Places& places : kPlaces) {
    SCOPED_TRACE(testing::Message() << "weights of " << places.weights << " layers and cells of "
                                    << places.cells << " there, a ring of " << places.ring.value);
    TestDevice device({.threads = settings.threads});
    const auto tiered = TieredModel::load(
        path, settings, percent_of_weights(100), {},
        {.device = &device, .layers = places.weights, .ring = places.ring, .cells_of_layers = places.cells});
    ASSERT_TRUE(tiered) << tiered.error().message;
    for (const std::size_t length : kPrompts) {
      const std::vector<llama_token> prompt = some_tokens(plain.context(), length);
      EXPECT_TRUE(trace((*tiered)->context(), prompt, kSteps) == trace(plain.context(), prompt, kSteps))
          << "prompt of " << length << " tokens";
    }
    EXPECT_EQ(device.used(), (*tiered)->device_pool().reserved());
  }
}

class DeviceCellsOfArchitecture : public testing::TestWithParam<const char*> {};

TEST_P(DeviceCellsOfArchitecture, SameTokens) {
  const TemporaryDirectory directory;
  expect_same_logits(synth_model(directory, {.like = GetParam(), .type = "Q4_K"}),
                     {.threads = 1, .file_order = true});
}

INSTANTIATE_TEST_SUITE_P(All, DeviceCellsOfArchitecture,
                         testing::Values("llama-tiny", "qwen3", "gemma3", "gpt-oss", "deepseek2",
                                         "falcon-h1"),
                         [](const auto& test) {
                           std::string name = test.param;
                           std::ranges::replace(name, '-', '_');
                           return name;
                         });

TEST(DeviceCells, SameTokensWithAQuantisedCache) {
  const TemporaryDirectory directory;
  expect_same_logits(synth_model(directory, {.like = "llama-tiny", .type = "Q8_0"}),
                     {.threads = 1,
                      .flash_attention = LLAMA_FLASH_ATTN_TYPE_ENABLED,
                      .cache_type = GGML_TYPE_Q8_0,
                      .file_order = true});
}

TEST(DeviceCells, SameTokensWithoutFlashAttention) {
  const TemporaryDirectory directory;
  expect_same_logits(synth_model(directory, {.like = "llama-tiny", .type = "Q6_K"}),
                     {.threads = 1, .flash_attention = LLAMA_FLASH_ATTN_TYPE_DISABLED, .file_order = true});
}

/// What a step of one token costs behind `prompt` tokens, on a device with these places.
struct Costs {
  int launches = 0;
  std::uint64_t received = 0;
  std::uint64_t given = 0;
};

Costs costs_of_step(const std::filesystem::path& path, const Places& places, std::size_t prompt) {
  TestDevice device({.threads = 1});
  const auto tiered = TieredModel::load(
      path, {.threads = 1, .file_order = true}, percent_of_weights(100), {},
      {.device = &device, .layers = places.weights, .ring = places.ring, .cells_of_layers = places.cells});
  EXPECT_TRUE(tiered) << tiered.error().message;
  if (!tiered) return {};
  const auto tokens = some_tokens((*tiered)->context(), prompt);
  const auto of_steps = [&](int steps) {
    const Costs before{device.launches(), device.received().value, device.given().value};
    EXPECT_FALSE(trace((*tiered)->context(), tokens, steps).logits.empty());
    return Costs{device.launches() - before.launches, device.received().value - before.received,
                 device.given().value - before.given};
  };
  const Costs all = of_steps(5);
  const Costs less = of_steps(4);
  return {all.launches - less.launches, all.received - less.received, all.given - less.given};
}

TEST(DeviceCells, AStepLeavesItsPlaceOnceInALayer) {
  const TemporaryDirectory directory;
  const auto path = synth_model(directory, {.like = "llama-tiny", .type = "Q4_K"});  // of four layers
  ASSERT_FALSE(path.empty());
  const Costs cells = costs_of_step(path, {0, 100}, 300);
  EXPECT_EQ(cells.launches, 4) << "attention of each layer";
  EXPECT_LT(cells.received, 16U << 10) << "queries, keys and values of a token, and the mask";
  EXPECT_EQ(cells.given, 4U << 10) << "a result of 256 numbers for each layer";
  EXPECT_EQ(costs_of_step(path, {100, 0}, 300).launches, 5)
      << "before, between and behind the host's attention";
  EXPECT_EQ(costs_of_step(path, {1, 0}, 300).launches, 2);
  EXPECT_EQ(costs_of_step(path, {1, 1}, 300).launches, 1);
  EXPECT_EQ(costs_of_step(path, {1, 3}, 300).launches, 3);
}

constexpr std::uint32_t kContext = 2048;

struct Started {
  std::vector<llama_token> tokens;
  plan::DeviceShare share;
  Bytes peak;
};

/// The first greedy tokens behind `prompt`, where the cores are said to attend slowly.
Result<Started> start_with(const std::filesystem::path& path, ggml_type cache, Bytes budget,
                           const std::vector<llama_token>& prompt) {
  TestDevice device({.capacity = budget, .threads = 1});
  const auto policy = [](const model::ModelProfile&) {
    return plan::TransferPolicy{
        .min_batch = plan::kNever,
        .min_batch_of_experts = plan::kNever,
        .step_rates = plan::StepRates{.weights_on_host = 1 / 40e9,
                                      .attention = {.decode_multiplications_per_s = 2e8},
                                      .quantised_attention = {.decode_multiplications_per_s = 2e8},
                                      .host_memory = 40e9,
                                      .device_memory = 300e9}};
  };
  BRIMFUL_TRY(const auto engine, engine::Engine::open({.model = path,
                                                       .ram = kGiB,
                                                       .threads = 1,
                                                       .threads_batch = 1,
                                                       .offload = {{device.handle(), budget}},
                                                       .transfer_policy = policy}));
  BRIMFUL_TRY_VOID(engine->prepare({.context = kContext,
                                    .ubatch = 128,
                                    .least_context = kContext,
                                    .type_k = cache,
                                    .type_v = cache,
                                    .flash_attention = LLAMA_FLASH_ATTN_TYPE_ENABLED}));
  BRIMFUL_TRY_VOID(engine->start({}));
  Started out{{}, engine->devices().at(0).share, {}};
  std::vector<llama_token> next = prompt;
  const int vocabulary = llama_vocab_n_tokens(engine->vocab());
  for (int i = 0; i < 4; ++i) {
    BRIMFUL_TRY_VOID(engine->decode(next));
    const float* const logits = llama_get_logits_ith(engine->context(), -1);
    next = {static_cast<llama_token>(std::max_element(logits, logits + vocabulary) - logits)};
    out.tokens.push_back(next.front());
  }
  out.peak = device.peak();
  return out;
}

class DeviceCellsOfType : public testing::TestWithParam<ggml_type> {};

TEST_P(DeviceCellsOfType, LieThereWithoutTheirWeightsWithinTheBudget) {
  const TemporaryDirectory directory;
  const auto path = synth_model(directory, {.like = "llama-tiny", .type = "F32"});  // 3 MiB for each layer
  ASSERT_FALSE(path.empty());
  const PlainModel plain(path, {.context = kContext,
                                .ubatch = 128,
                                .threads = 1,
                                .flash_attention = LLAMA_FLASH_ATTN_TYPE_ENABLED,
                                .cache_type = GetParam()});
  const std::vector<llama_token> prompt = some_tokens(plain.context(), 600);
  const std::vector<llama_token> expected = trace(plain.context(), prompt, 3).tokens;
  std::uint32_t cells = 0;
  bool alone = false;
  for (const std::uint64_t kib : {2500U, 4000U, 5500U, 7000U, 9000U, 30000U}) {
    SCOPED_TRACE(testing::Message() << kib << " KiB");
    const auto started = start_with(path, GetParam(), kKiB * kib, prompt);
    ASSERT_TRUE(started) << started.error().message;
    EXPECT_EQ(started->tokens, expected);
    const plan::DeviceShare& share = started->share;
    EXPECT_LE(started->peak, share.budget);
    EXPECT_EQ(share.weights + share.kv_cache + share.compute + share.ring + share.unused, share.budget);
    cells = share.layers_of_cells;
    alone = alone || share.layers_of_cells > share.layers;
    const Bytes all{std::uint64_t{kContext} * 4 * 2 * ggml_row_size(GetParam(), 128)};
    EXPECT_GE(share.kv_cache, Bytes{all.value / 4 * share.layers_of_cells});
    EXPECT_LE(share.kv_cache, Bytes{all.value / 4 * share.layers_of_cells} + Bytes{64} * kKiB.value)
        << "and what the device pads";
  }
  EXPECT_EQ(cells, 4U);
  EXPECT_TRUE(alone) << "cells whose weights are on the host";
}

INSTANTIATE_TEST_SUITE_P(All, DeviceCellsOfType,
                         testing::Values(GGML_TYPE_F16, GGML_TYPE_Q8_0, GGML_TYPE_Q4_0),
                         [](const auto& test) { return std::string(ggml_type_name(test.param)); });

}  // namespace
}  // namespace brimful::tests
