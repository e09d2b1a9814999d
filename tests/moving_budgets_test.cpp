// Budgets change while a model runs. The text continues with the same tokens, and memory is given back.

#include <gtest/gtest.h>

#include <cstdlib>
#include <functional>

#include "engine/engine.h"
#include "hardware/host_memory.h"
#include "sanitized.h"
#include "synth_model.h"
#include "test_device.h"
#include "tiered_model.h"

namespace brimful::tests {
namespace {

constexpr int kTokens = 24;
constexpr int kStep = 6;  // The number of tokens between two changes.
const engine::ContextOptions kContext{.context = 512, .ubatch = 64, .least_context = 512};

using Held = decltype(engine::OpenOptions::held_on_device);

Result<std::unique_ptr<engine::Engine>> start(const std::filesystem::path& path, Bytes ram,
                                              std::vector<engine::OffloadOption> offload = {},
                                              Held held = {}) {
  BRIMFUL_TRY(auto engine, engine::Engine::open({.model = path,
                                                 .ram = ram,
                                                 .threads = 2,
                                                 .threads_batch = 2,
                                                 .offload = std::move(offload),
                                                 .held_on_device = std::move(held)}));
  BRIMFUL_TRY_VOID(engine->prepare(kContext));
  BRIMFUL_TRY_VOID(engine->start({}));
  return engine;
}

/// Returns greedy tokens after a prompt. `change` is called with 0 before the prompt, and with 1, 2 and so
/// on between the tokens.
std::vector<llama_token> generate(engine::Engine& engine, const std::function<void(int)>& change) {
  std::vector<llama_token> out;
  std::vector<llama_token> next = some_tokens(engine.context(), 100);
  const int vocabulary = llama_vocab_n_tokens(engine.vocab());
  for (int i = 0; i < kTokens; ++i) {
    if (i % kStep == 0) change(i / kStep);
    if (const Status status = engine.decode(next); !status) {
      ADD_FAILURE() << status.error().message;
      return {};
    }
    const float* const logits = llama_get_logits_ith(engine.context(), -1);
    next = {static_cast<llama_token>(std::max_element(logits, logits + vocabulary) - logits)};
    out.push_back(next.front());
  }
  return out;
}

Bytes held_by_process() {
  const auto process = hardware::read_process_memory();
  return process ? hardware::held_bytes(*process) : Bytes{};
}

/// Generates with changing budgets, and expects the tokens of fixed ones. The budgets are one that is too
/// small and refused, one with which weights stream, and enough for everything again.
void expect_same_tokens(const std::filesystem::path& path) {
  const auto undisturbed = start(path, kGiB);
  ASSERT_TRUE(undisturbed) << undisturbed.error().message;
  const auto expected = generate(**undisturbed, [](int) {});
  const auto engine = start(path, kGiB);
  ASSERT_TRUE(engine) << engine.error().message;
  Bytes least;
  const auto got = generate(**engine, [&](int time) {
    if (time == 1) {
      const Status refused = (*engine)->change_budgets({.ram = kMiB});
      ASSERT_FALSE(refused);
      EXPECT_EQ(refused.error().code, ErrorCode::kInfeasible) << refused.error().message;
      EXPECT_EQ((*engine)->memory_map().budget, kGiB) << "the old one still holds";
      ASSERT_TRUE((*engine)->memory_map().streamed_per_pass == Bytes{});
      least = (*engine)->memory_map().budget - (*engine)->memory_map().unused;
    } else if (time == 2) {
      // This is a little less than is needed for everything. Most of that is not weights, because the model
      // is small.
      const Bytes budget = least - Bytes{(*engine)->memory_map().resident_weights.value / 2};
      const Status changed = (*engine)->change_budgets({.ram = budget});
      ASSERT_TRUE(changed) << changed.error().message;
      EXPECT_TRUE((*engine)->memory_map().streams());
      EXPECT_EQ((*engine)->memory_map().budget, budget);
      if (!kSanitized) {
        EXPECT_LE(held_by_process(), budget);
        // The peak is the new budget's own, not that of the larger one before.
        ASSERT_TRUE((*engine)->peak_bytes());
        EXPECT_LE(*(*engine)->peak_bytes(), budget);
      }
      ASSERT_EQ((*engine)->earlier_peaks().size(), 1U);
      EXPECT_EQ((*engine)->earlier_peaks()[0].budget, kGiB);
    } else if (time == 3) {
      const Status changed = (*engine)->change_budgets({.ram = kGiB});
      ASSERT_TRUE(changed) << changed.error().message;
      EXPECT_FALSE((*engine)->memory_map().streams());
    }
  });
  EXPECT_EQ(got, expected);
}

TEST(MovingBudgets, Stories15M) {
  const auto path = stories15m();
  if (path.empty()) GTEST_SKIP() << "no stories15M: make it with scripts/demo";
  expect_same_tokens(path);
}

class MovingBudgetsOf : public testing::TestWithParam<const char*> {};

TEST_P(MovingBudgetsOf, Synthetic) {
  const TemporaryDirectory directory;
  const auto path = synth_model(directory, {.like = GetParam(), .type = "Q8_0"});
  ASSERT_FALSE(path.empty());
  expect_same_tokens(path);
}

// The models: attention alone, experts, a recurrent state.
INSTANTIATE_TEST_SUITE_P(All, MovingBudgetsOf, testing::Values("gemma3", "mixtral", "falcon-h1"), test_name);

TEST(MovingBudgets, OfADevice) {
  const auto path = stories15m();
  if (path.empty()) GTEST_SKIP() << "no stories15M: make it with scripts/demo";
  constexpr std::uint64_t kBudgets[] = {40, 12, 64, 1};
  TestDevice device({});
  const auto engine = start(path, kGiB, {{device.handle(), kMiB * 24}});
  ASSERT_TRUE(engine) << engine.error().message;
  const PlainModel plain(path, {.context = 512, .ubatch = 64, .file_order = true});
  const auto expected = trace(plain.context(), some_tokens(plain.context(), 100), kTokens - 1).tokens;
  const auto got = generate(**engine, [&](int time) {
    const Bytes budget = kMiB * kBudgets[static_cast<std::size_t>(time)];
    const Status changed =
        (*engine)->change_budgets({.vram = {{ggml_backend_dev_name(device.handle()), budget}}});
    ASSERT_TRUE(changed) << changed.error().message;
    EXPECT_LE(device.used(), budget);
    EXPECT_EQ((*engine)->devices().at(0).share.budget, budget);
  });
  EXPECT_EQ(got, expected);
}

/// The memory that one of two models gives up is taken by the other. Neither ever holds more than its
/// budget.
TEST(MovingBudgets, BetweenTwoDevices) {
  const auto path = stories15m();
  if (path.empty()) GTEST_SKIP() << "no stories15M: make it with scripts/demo";
  TestDevice first({.capacity = kMiB * 40});
  TestDevice second({.name = "TEST1", .capacity = kMiB * 40});
  const auto engine = start(path, kGiB, {{first.handle(), kMiB * 36}, {second.handle(), kMiB * 12}});
  ASSERT_TRUE(engine) << engine.error().message;
  const PlainModel plain(path, {.context = 512, .ubatch = 64, .file_order = true});
  const auto expected = trace(plain.context(), some_tokens(plain.context(), 100), kTokens - 1).tokens;
  constexpr std::uint64_t kBudgets[][2] = {{36, 12}, {20, 30}, {4, 40}, {40, 40}};
  const auto got = generate(**engine, [&](int time) {
    const auto& [one, other] = kBudgets[time];
    const Status changed =
        (*engine)->change_budgets({.vram = {{"TEST0", kMiB * one}, {"TEST1", kMiB * other}}});
    ASSERT_TRUE(changed) << changed.error().message;
    EXPECT_LE(first.used(), kMiB * one);
    EXPECT_LE(second.used(), kMiB * other);
    const auto devices = (*engine)->devices();
    const Bytes there = devices.at(0).share.weights + devices.at(1).share.weights;
    EXPECT_GT(there, kMiB * (time == 3 ? 50 : 10));
  });
  EXPECT_EQ(got, expected);
}

TEST(MovingBudgets, MoreThanADeviceHasChangesNothing) {
  const TemporaryDirectory directory;
  const auto path = synth_model(directory, {.like = "llama-tiny", .type = "Q8_0"});
  TestDevice device({.capacity = kMiB * 64});
  const auto engine = start(path, kGiB, {{device.handle(), kMiB * 24}});
  ASSERT_TRUE(engine) << engine.error().message;
  const Status refused =
      (*engine)->change_budgets({.vram = {{ggml_backend_dev_name(device.handle()), kMiB * 65}}});
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code, ErrorCode::kInfeasible);
  EXPECT_NE(refused.error().message.find("of its 64.0 MiB"), std::string::npos) << refused.error().message;
  EXPECT_TRUE((*engine)->can_go_on());
  EXPECT_EQ((*engine)->devices().at(0).share.budget, kMiB * 24);
}

/// When any allocation of a change fails, as when another program takes the memory, the old budgets hold.
TEST(MovingBudgets, AChangeThatFailsHalfWayIsTakenBack) {
  const TemporaryDirectory directory;
  const auto path = synth_model(directory, {.like = "llama-tiny", .type = "Q8_0"});
  const auto change = [&](TestDevice& device, Status& changed, int& before, int& after) {
    const auto engine = start(path, kGiB, {{device.handle(), kMiB * 24}});
    EXPECT_TRUE(engine) << engine.error().message;
    if (!engine) return std::vector<llama_token>();
    return generate(**engine, [&](int time) {
      if (time != 2) return;
      before = device.allocations();
      const std::vector<std::string> notes = (*engine)->notes();
      changed = (*engine)->change_budgets(
          {.ram = kGiB * 4096, .vram = {{ggml_backend_dev_name(device.handle()), kMiB * 32}}});
      after = device.allocations();
      // Nobody has so much RAM, which is a note: of the budgets that hold, and of no others.
      EXPECT_EQ((*engine)->notes() != notes, changed.has_value());
      EXPECT_TRUE((*engine)->can_go_on());
      EXPECT_EQ((*engine)->devices().at(0).share.budget, kMiB * (changed ? 32 : 24));
    });
  };
  Status changed;
  int before = 0;
  int after = 0;
  TestDevice sound({});
  const auto expected = change(sound, changed, before, after);
  ASSERT_TRUE(changed) << changed.error().message;
  ASSERT_GT(after, before);
  int taken_back = 0;
  for (int fault = before; fault < after; ++fault) {
    SCOPED_TRACE(fault);
    TestDevice device({.fail_allocation = fault});
    int ignored = 0;
    EXPECT_EQ(change(device, changed, ignored, ignored), expected);
    taken_back += changed ? 0 : 1;
  }
  EXPECT_GT(taken_back, 0);
}

TEST(MovingBudgets, ADeviceThatIsNotInUseIsNamed) {
  const TemporaryDirectory directory;
  const auto path = synth_model(directory, {.like = "llama-tiny", .type = "Q8_0"});
  const auto engine = start(path, kGiB);
  ASSERT_TRUE(engine) << engine.error().message;
  const Status refused = (*engine)->change_budgets({.vram = {{"CUDA7", kMiB}}});
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code, ErrorCode::kInvalidArgument);
  EXPECT_NE(refused.error().message.find("CUDA7"), std::string::npos);
}

TEST(MovingBudgets, ASequenceThatCannotBeSavedChangesNothing) {
  const TemporaryDirectory directory;
  const auto path = synth_model(directory, {.like = "llama-tiny", .type = "Q8_0"});
  const auto undisturbed = start(path, kGiB);
  ASSERT_TRUE(undisturbed) << undisturbed.error().message;
  const auto expected = generate(**undisturbed, [](int) {});
  const auto engine = start(path, kGiB);
  ASSERT_TRUE(engine) << engine.error().message;
  const auto got = generate(**engine, [&](int time) {
    if (time != 2) return;
    ::setenv("TMPDIR", "/nowhere", 1);
    const Status refused = (*engine)->change_budgets({.ram = kGiB * 2});
    ::unsetenv("TMPDIR");
    ASSERT_FALSE(refused);
    EXPECT_EQ(refused.error().code, ErrorCode::kIo);
    EXPECT_NE(refused.error().message.find("/nowhere"), std::string::npos) << refused.error().message;
    EXPECT_EQ((*engine)->memory_map().budget, kGiB);
  });
  EXPECT_EQ(got, expected);
}

/// The driver takes memory of its own, and more of it once something was computed.
TEST(ExactDevice, IsFilledWithWhatItsDriverLeaves) {
  const TemporaryDirectory directory;
  const auto path = synth_model(directory, {.like = "llama-tiny", .type = "Q8_0", .layers = 24});
  const auto undisturbed = start(path, kGiB);
  ASSERT_TRUE(undisturbed) << undisturbed.error().message;
  const auto expected = generate(**undisturbed, [](int) {});
  constexpr Bytes kBudget = kMiB * 24;
  TestDevice device({});
  const auto held = [&](ggml_backend_dev_t) -> std::optional<engine::DeviceHeld> {
    return engine::DeviceHeld{device.used() + (device.nodes_computed() > 0 ? kMiB * 14 : kMiB * 3)};
  };
  const auto engine = start(path, kGiB, {{device.handle(), kBudget}}, held);
  ASSERT_TRUE(engine) << engine.error().message;
  const plan::DeviceShare share = (*engine)->devices().front().share;
  EXPECT_GT(share.weights, Bytes{});
  EXPECT_EQ(share.runtime, kMiB * 16) << "what was measured, and what it may still take";
  EXPECT_LE(held(device.handle())->bytes, kBudget);
  EXPECT_GT(held(device.handle())->bytes + kMiB * 3, kBudget) << "filled";
  EXPECT_TRUE(device.cells().contains(*kContext.context)) << "measured with a full context";
  const auto got = generate(**engine, [&](int time) {
    if (time == 0) return;
    const Bytes budget = time == 2 ? kMiB * 20 : kBudget + kMiB * static_cast<std::uint64_t>(time);
    const Status changed =
        (*engine)->change_budgets({.vram = {{ggml_backend_dev_name(device.handle()), budget}}});
    ASSERT_TRUE(changed) << changed.error().message;
    EXPECT_LE(held(device.handle())->bytes, budget);
    const Status refused =
        (*engine)->change_budgets({.vram = {{ggml_backend_dev_name(device.handle()), kMiB * 9}}});
    ASSERT_FALSE(refused) << "its driver alone holds more";
    EXPECT_EQ(refused.error().code, ErrorCode::kInfeasible);
  });
  EXPECT_EQ(got, expected);
  EXPECT_LE(held(device.handle())->bytes, kBudget + kMiB * 3);
}

/// Attention's buffers may be largest where a context is filled in part. The text has as many cells as half
/// of it.
TEST(ExactDevice, IsMeasuredWithContextsThatAreFilledInPart) {
  const TemporaryDirectory directory;
  const auto path = synth_model(directory, {.like = "llama-tiny", .type = "Q8_0", .layers = 24});
  constexpr Bytes kBudget = kMiB * 24;
  TestDevice device({});
  const auto held = [&](ggml_backend_dev_t) -> std::optional<engine::DeviceHeld> {
    return engine::DeviceHeld{device.used() +
                              (device.cells().contains(*kContext.context / 2) ? kMiB * 8 : kMiB * 3)};
  };
  const auto engine = start(path, kGiB, {{device.handle(), kBudget}}, held);
  ASSERT_TRUE(engine) << engine.error().message;
  EXPECT_FALSE(generate(**engine, [](int) {}).empty());
  EXPECT_TRUE(device.cells().contains(*kContext.context / 2));
  EXPECT_LE(held(device.handle())->bytes, kBudget);
  EXPECT_GT(held(device.handle())->bytes + kMiB * 3, kBudget) << "filled";
}

/// A driver keeps a graph for a step whose experts are all there, and other ones for a step that lacks some.
TEST(ExactDevice, EveryShapeOfAStepIsMeasured) {
  const TemporaryDirectory directory;
  const auto path = synth_model(directory, {.like = "qwen3moe", .type = "Q4_K", .router = "skewed"});
  TestDevice large({});
  const auto all = start(path, kGiB, {{large.handle(), kGiB}});
  ASSERT_TRUE(all) << all.error().message;
  const plan::DeviceShare whole = (*all)->devices().front().share;
  TestDevice device({.graph = Bytes{256} * kKiB.value});
  const auto held = [&](ggml_backend_dev_t) -> std::optional<engine::DeviceHeld> {
    return engine::DeviceHeld{device.used() + device.driver() + kMiB * 3};
  };
  const Bytes budget = whole.peak() - Bytes{whole.weights.value / 5} + kMiB * 6;
  const auto engine = start(path, kGiB, {{device.handle(), budget}}, held);
  ASSERT_TRUE(engine) << engine.error().message;
  ASSERT_FALSE((*engine)->devices().front().share.groups.empty());
  const int graphs = device.graphs();
  for (llama_token token = 0; token < 60; ++token) ASSERT_TRUE((*engine)->decode(std::vector{token % 20}));
  const tier::ExpertStatistics experts = (*engine)->devices().front().experts;
  EXPECT_GT(experts.hits, 0U);
  EXPECT_LT(experts.hits, experts.used);
  EXPECT_EQ(device.graphs(), graphs);
}

/// Contexts are measured one after the other. The buffers of one are not mistaken for the driver's memory by
/// the next.
TEST(ExactDevice, ItsDriverTakesAsMuchForEachContextThatIsWeighed) {
  const TemporaryDirectory directory;
  const auto path = synth_model(directory, {.like = "llama-tiny", .type = "Q8_0"});
  TestDevice device({.capacity = kMiB * 64});
  const auto engine = engine::Engine::open(
      {.model = path, .ram = kGiB, .offload = {{device.handle(), kMiB * 32}}, .held_on_device = [&](auto) {
         return engine::DeviceHeld{device.used() + kMiB * 3};
       }});
  ASSERT_TRUE(engine) << engine.error().message;
  ASSERT_TRUE((*engine)->prepare(kContext));
  const Bytes first = (*engine)->devices().front().share.runtime;
  EXPECT_GT(device.used(), Bytes{});
  ASSERT_TRUE((*engine)->prepare(kContext));
  EXPECT_GE(first, kMiB * 3);
  EXPECT_EQ((*engine)->devices().front().share.runtime, first);
}

/// When NVML lists no processes, only the use of the whole card is visible, and that of other programs
/// changes.
TEST(ExactDevice, IsNotMisledByWhatOthersTake) {
  const TemporaryDirectory directory;
  const auto path = synth_model(directory, {.like = "llama-tiny", .type = "Q8_0"});
  TestDevice device({.capacity = kMiB * 64});
  Bytes others;
  const auto held = [&](ggml_backend_dev_t) {
    return engine::DeviceHeld{device.used() + kMiB * 3 + others, false};
  };
  const auto engine = start(path, kGiB, {{device.handle(), kMiB * 24}}, held);
  ASSERT_TRUE(engine) << engine.error().message;
  const Bytes weights = (*engine)->devices().front().share.weights;
  EXPECT_GT(weights, Bytes{});
  others = kGiB * 8;
  const Status changed =
      (*engine)->change_budgets({.vram = {{ggml_backend_dev_name(device.handle()), kMiB * 23}}});
  ASSERT_TRUE(changed) << changed.error().message;
  EXPECT_EQ((*engine)->devices().front().share.weights, weights) << "all of them, as before";
}

TEST(ExactDevice, IsNotTakenWhereItsDriverAloneHoldsMore) {
  const TemporaryDirectory directory;
  const auto path = synth_model(directory, {.like = "llama-tiny", .type = "Q8_0"});
  TestDevice device({});
  const auto started = start(path, kGiB, {{device.handle(), Bytes{std::uint64_t{64 * 1024}}}},
                             [](auto) { return engine::DeviceHeld{kMiB * 300}; });
  ASSERT_FALSE(started);
  EXPECT_EQ(started.error().code, ErrorCode::kInfeasible);
  EXPECT_NE(started.error().message.find("driver alone holds 300.0 MiB"), std::string::npos)
      << started.error().message;
}

TEST(ExactDevice, AFigureBelowItsOwnBuffersIsNoAnswer) {
  const TemporaryDirectory directory;
  const auto path = synth_model(directory, {.like = "llama-tiny", .type = "Q8_0"});
  TestDevice device({});
  const auto engine =
      start(path, kGiB, {{device.handle(), kMiB * 24}}, [](auto) { return engine::DeviceHeld{}; });
  ASSERT_TRUE(engine) << engine.error().message;
  EXPECT_GT((*engine)->devices().front().share.weights, Bytes{});
}

}  // namespace
}  // namespace brimful::tests
