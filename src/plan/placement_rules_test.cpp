#include "plan/placement_rules.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace brimful::plan {
namespace {

const model::ModelProfile kProfile{.layers = 4};
const model::TensorInfo kQuery{.name = "blk.1.attn_q.weight", .role = model::Role::kAttention, .layer = 1};
const model::TensorInfo kExperts{
    .name = "blk.2.ffn_up_exps.weight", .role = model::Role::kExpert, .layer = 2};
const model::TensorInfo kOutput{.name = "output.weight", .role = model::Role::kOutput};

PlacementFilter rules(std::optional<std::uint32_t> layers, std::optional<std::uint32_t> moe,
                      const std::vector<std::string>& overrides = {}) {
  auto made = placement_rules(layers, moe, overrides, {"CUDA0", "CUDA1"}, "rules");
  EXPECT_TRUE(made) << made.error().message;
  return made ? *made : PlacementFilter{};
}

TEST(PlacementRules, WithoutFlagsThereAreNone) { EXPECT_FALSE(rules({}, {})); }

TEST(PlacementRules, GpuLayersCountFromTheFirstAndTheOutputIsTheLast) {
  EXPECT_TRUE(rules(2, {})("CUDA0", kProfile, kQuery));
  EXPECT_FALSE(rules(2, {})("CUDA0", kProfile, kExperts));
  EXPECT_FALSE(rules(4, {})("CUDA0", kProfile, kOutput));
  EXPECT_TRUE(rules(5, {})("CUDA0", kProfile, kOutput));
}

TEST(PlacementRules, ExpertsOfTheFirstLayersStayOnTheCpu) {
  EXPECT_FALSE(rules({}, 3)("CUDA0", kProfile, kExperts));
  EXPECT_TRUE(rules({}, 2)("CUDA0", kProfile, kExperts));
  EXPECT_TRUE(rules({}, 3)("CUDA0", kProfile, kQuery));
}

TEST(PlacementRules, TheFirstOverrideThatMatchesCounts) {
  const auto may = rules(0, {}, {"attn_q=CUDA1,exps=CPU", "attn=CPU"});
  EXPECT_TRUE(may("CUDA1", kProfile, kQuery));
  EXPECT_FALSE(may("CUDA0", kProfile, kQuery));
  EXPECT_FALSE(may("CUDA0", kProfile, kExperts));
}

TEST(PlacementRules, NonsenseIsRefused) {
  for (const char* text : {"attn", "attn=", "(=CPU", "attn=CUDA9"}) {
    const auto made = placement_rules({}, {}, {text}, {"CUDA0"}, "placement.rules");
    ASSERT_FALSE(made) << text;
    EXPECT_THAT(made.error().message, testing::StartsWith("placement.rules "));
  }
}

}  // namespace
}  // namespace brimful::plan
