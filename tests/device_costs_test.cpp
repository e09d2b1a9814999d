// What a step costs on a device: graphs, waits, copies for which a thread waits, and bytes over the link. The
// figures are exact: whoever changes one has changed what a step does.

#include <gtest/gtest.h>

#include "synth_model.h"
#include "test_device.h"
#include "tiered_model.h"

namespace brimful::tests {
namespace {

struct Costs {
  int launches = 0;
  int waits = 0;
  int blocking = 0;
  std::uint64_t received = 0;
  std::uint64_t given = 0;
  bool operator==(const Costs&) const = default;
};

std::ostream& operator<<(std::ostream& out, const Costs& costs) {
  return out << costs.launches << " launches, " << costs.waits << " waits, " << costs.blocking
             << " blocking copies, " << costs.received << " bytes to the device, " << costs.given
             << " from it";
}

Costs costs_of(const TestDevice& device) {
  return {device.launches(), device.waits(), device.blocking_copies(), device.received().value,
          device.given().value};
}

/// The costs of the last of `steps` passes of one token after a prompt of `prompt` tokens, or of the prompt
/// where `steps` is 0. Everything is computed twice before, so that schedules are known.
Costs costs_of(TestDevice& device, llama_context* context, std::size_t prompt, int steps) {
  const std::vector<llama_token> tokens = some_tokens(context, prompt);
  const auto of_text = [&](int count) {
    const Costs before = costs_of(device);
    EXPECT_FALSE(trace(context, tokens, count).logits.empty());
    const Costs after = costs_of(device);
    return Costs{after.launches - before.launches, after.waits - before.waits,
                 after.blocking - before.blocking, after.received - before.received,
                 after.given - before.given};
  };
  for (int i = 0; i < 2; ++i) of_text(steps);
  Costs with = of_text(steps);
  with.received = steps == 0 ? 0 : with.received;  // how much is sent ahead is a matter of time
  if (steps == 0) return with;
  const Costs without = of_text(steps - 1);
  return {with.launches - without.launches, with.waits - without.waits, with.blocking - without.blocking,
          with.received - without.received, with.given - without.given};
}

constexpr Settings kSettings{.context = 512, .ubatch = 128, .threads = 1, .file_order = true};

TEST(DeviceCosts, OfADenseModel) {
  const TemporaryDirectory directory;
  const auto path = synth_model(directory, {.like = "llama-tiny", .type = "Q4_K"});
  ASSERT_FALSE(path.empty());
  TestDevice device({.threads = 1});
  const auto tiered = TieredModel::load(path, kSettings, percent_of_weights(100), {},
                                        {.device = &device, .layers = 1, .ring = kMiB * 2});
  ASSERT_TRUE(tiered) << tiered.error().message;
  EXPECT_EQ(costs_of(device, (*tiered)->context(), 9, 4), (Costs{1, 9, 0, 1556, 1024})) << "a step";
  EXPECT_EQ(costs_of(device, (*tiered)->context(), 100, 0), (Costs{22, 49, 1, 0, 308224}))
      << "a prompt of 100 tokens";
}

// Each of the four groups of products of a layer costs a copy there, a graph, a copy back and a wait.
TEST(DeviceCosts, OfRowsForEachToken) {
  const TemporaryDirectory directory;
  const auto path = synth_model(directory, {.like = "llama-tiny", .type = "Q4_K"});
  ASSERT_FALSE(path.empty());
  TestDevice device({.threads = 1});
  const auto tiered = TieredModel::load(path, kSettings, percent_of_weights(100), {},
                                        {.device = &device, .ring = kMiB * 4, .rows = 50});
  ASSERT_TRUE(tiered) << tiered.error().message;
  Costs step = costs_of(device, (*tiered)->context(), 9, 4);
  step.received = 0;  // how much is sent ahead is a matter of time
  EXPECT_EQ(step, (Costs{16, 17, 0, 0, 20480}));
  // What crosses in many steps is what they need, and at most a ring more.
  const Bytes before = (*tiered)->offload().sent();
  constexpr int kSteps = 20;
  EXPECT_FALSE(trace((*tiered)->context(), {1}, kSteps - 1).logits.empty());
  const Bytes sent = (*tiered)->offload().sent() - before;
  const Bytes of_a_step = plan::bytes_of((*tiered)->profile(), (*tiered)->rows());
  ASSERT_GT(of_a_step, Bytes{});
  EXPECT_GE(sent + kMiB * 4, of_a_step * kSteps);
  EXPECT_LE(sent, of_a_step * kSteps + kMiB * 4);
}

TEST(DeviceCosts, OfAMixture) {
  const TemporaryDirectory directory;
  const auto path = synth_model(directory, {.like = "qwen3moe", .type = "Q4_K"});
  ASSERT_FALSE(path.empty());
  for (const bool send : {false, true}) {
    TestDevice device({.threads = 1});
    const auto tiered =
        TieredModel::load(path, kSettings, percent_of_weights(100), {},
                          {.device = &device, .layers = 100, .slots = 16, .send_experts = send});
    ASSERT_TRUE(tiered) << tiered.error().message;
    EXPECT_EQ(costs_of(device, (*tiered)->context(), 9, 4),
              send ? (Costs{4, 11, 0, 564, 4120}) : (Costs{6, 11, 0, 4660, 6168}))
        << "a step";
  }
}

}  // namespace
}  // namespace brimful::tests
