#include "session/live_control.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace brimful::session {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Pair;
using json = nlohmann::json;

Result<engine::BudgetChange> read(const json& request, const std::vector<std::string>& devices = {}) {
  return budget_change_of(request, devices, {});
}
std::string refusal(const json& request, const std::vector<std::string>& devices = {}) {
  const auto change = read(request, devices);
  if (change) return "it was taken";
  EXPECT_EQ(change.error().code, ErrorCode::kInvalidArgument);
  return change.error().message;
}

TEST(BudgetChangeOf, WhatIsNotNamedStaysAsItIs) {
  const auto ram = read({{"ram", 5U}});
  ASSERT_TRUE(ram);
  EXPECT_EQ(ram->ram, Bytes{5});
  EXPECT_THAT(ram->vram, IsEmpty());
  const auto vram = read({{"vram", {{{"name", "CUDA1"}, {"bytes", UINT64_MAX}}}}});
  ASSERT_TRUE(vram);
  EXPECT_EQ(vram->ram, std::nullopt);
  EXPECT_THAT(vram->vram, ElementsAre(Pair("CUDA1", Bytes{UINT64_MAX})));
}

TEST(BudgetChangeOf, APartWithoutANameIsForTheFirstGpuWithoutABudget) {
  const json request = {
      {"vram", {{{"name", "CUDA0"}, {"bytes", 1U}}, {{"bytes", 2U}}, {{"name", ""}, {"bytes", 3U}}}}};
  const auto change = read(request, {"CUDA0", "CUDA1", "CUDA2"});
  ASSERT_TRUE(change) << change.error().message;
  EXPECT_THAT(change->vram,
              ElementsAre(Pair("CUDA0", Bytes{1}), Pair("CUDA1", Bytes{2}), Pair("CUDA2", Bytes{3})));
  EXPECT_THAT(refusal(request, {"CUDA0", "CUDA1"}), HasSubstr("3 budgets and 2 GPUs"));
  EXPECT_THAT(refusal({{"vram", {{{"bytes", 2U}}}}}), HasSubstr("no GPU is used"));
}

TEST(BudgetChangeOf, AGpuHasOneBudget) {
  EXPECT_THAT(refusal({{"vram", {{{"name", "CUDA0"}, {"bytes", 1U}}, {{"name", "CUDA0"}, {"bytes", 2U}}}}}),
              HasSubstr("CUDA0 has a budget already"));
}

TEST(BudgetChangeOf, ARequestThatNamesNoBudgetIsRefused) {
  EXPECT_THAT(refusal(json::object()), HasSubstr("names no budget"));
  EXPECT_THAT(refusal({{"vram", json::array()}}), HasSubstr("names no budget"));
}

TEST(BudgetChangeOf, WhatIsNoBudgetIsRefusedAlsoBesideOneThatIs) {
  EXPECT_THAT(refusal({{"ram", 0U}}), HasSubstr("0 bytes"));
  const json good = {{{"name", "CUDA0"}, {"bytes", 1U}}};
  for (const json& wrong : {json("8GiB"), json(-1), json(1.5), json(nullptr), json(true)}) {
    EXPECT_THAT(refusal({{"ram", wrong}, {"vram", good}}), HasSubstr("'ram'")) << wrong;
    EXPECT_THAT(refusal({{"ram", 5U}, {"vram", {{{"bytes", wrong}}}}}, {"CUDA0"}), HasSubstr("'bytes'"))
        << wrong;
  }
  EXPECT_THAT(refusal({{"ram", 5U}, {"vram", 7}}), HasSubstr("'vram' is not a list"));
  EXPECT_THAT(refusal({{"ram", 5U}, {"vram", {7}}}), HasSubstr("'bytes'"));
  EXPECT_THAT(refusal({{"vram", {{{"name", 0}, {"bytes", 1U}}}}}), HasSubstr("'name'"));
}

}  // namespace
}  // namespace brimful::session
