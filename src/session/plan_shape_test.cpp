#include "session/plan_shape.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace brimful::session {
namespace {

using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::StartsWith;

struct Shaped {
  engine::ContextOptions context;
  PlannedPrompt prompt;
};

Shaped shaped(std::optional<std::uint32_t> context, const PlannedRequests& requests, std::uint32_t trained) {
  Shaped out{.context = {.context = context}, .prompt = {}};
  out.prompt = shape_for_plan(out.context, requests, trained, "--prompt-tokens");
  return out;
}

TEST(PlannedPrompt, LeavesHalfOfAShortContextToTheAnswer) {
  EXPECT_EQ(planned_prompt({}, 0, "n").tokens, 512U) << "the context is not known";
  EXPECT_EQ(planned_prompt({}, 4096, "n").tokens, 512U);
  EXPECT_EQ(planned_prompt({}, 256, "n").tokens, 128U);
  EXPECT_EQ(planned_prompt({}, 1, "n").tokens, 1U) << "a prompt has a token";
  EXPECT_THAT(planned_prompt({}, 256, "n").note, IsEmpty()) << "nobody asked for another one";
}

TEST(PlannedPrompt, IsNoLongerThanTheContextAndSaysSo) {
  EXPECT_EQ(planned_prompt(200, 256, "n").tokens, 200U);
  EXPECT_THAT(planned_prompt(256, 256, "n").note, IsEmpty());
  const PlannedPrompt prompt = planned_prompt(257, 256, "prompt_tokens");
  EXPECT_EQ(prompt.tokens, 256U);
  EXPECT_THAT(prompt.note, StartsWith("prompt_tokens 257: "));
  EXPECT_THAT(prompt.note, HasSubstr("only 256 tokens"));
  EXPECT_EQ(planned_prompt(5000, 0, "n").tokens, 5000U) << "the context is not known";
}

TEST(ShapeForPlan, EachRequestHasTheContextThatWasAskedFor) {
  const Shaped one = shaped(1024, {.at_once = 1}, 4096);
  EXPECT_EQ(one.context.context, 1024U);
  EXPECT_EQ(one.context.sequences, 1U);
  EXPECT_EQ(one.context.prompt_tokens, 512U);
  EXPECT_EQ(one.context.least_context, 512U);
  const Shaped eight = shaped(1024, {.at_once = 8, .prompt_tokens = 100}, 4096);
  EXPECT_EQ(eight.context.context, 8 * 1024U);
  EXPECT_EQ(eight.context.sequences, 8U);
  EXPECT_EQ(eight.context.prompt_tokens, 100U);
  EXPECT_EQ(eight.context.least_context, 800U);
}

TEST(ShapeForPlan, AnOpenContextHoldsAllPrompts) {
  EXPECT_EQ(shaped({}, {.at_once = 1}, 256).context.context, std::nullopt) << "the engine chooses it";
  EXPECT_EQ(shaped({}, {.at_once = 2}, 4096).context.context, std::nullopt)
      << "2 * 512 are no more than 4096";
  EXPECT_EQ(shaped({}, {.at_once = 8}, 256).context.context, 8 * 128U)
      << "a context of the trained size would not hold them";
  EXPECT_EQ(shaped({}, {.at_once = 8}, 0).context.context, std::nullopt) << "the trained size is not known";
  EXPECT_EQ(shaped(0, {.at_once = 8}, 256).prompt.tokens, 128U) << "0 stands for the trained size";
}

}  // namespace
}  // namespace brimful::session
