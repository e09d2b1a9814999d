#include "session/budget_change.h"

#include <gtest/gtest.h>

namespace brimful::session {
namespace {

using Vram = std::vector<std::pair<std::string, Bytes>>;

TEST(BudgetChange, ABudgetWithoutANameIsForTheNextGpuWithoutOne) {
  const auto change = budget_change({.ram = kGiB, .vram = {{"CUDA1", kMiB}, {"", kMiB * 2}, {"", kMiB * 3}}},
                                    {"CUDA0", "CUDA1", "CUDA2"}, {});
  ASSERT_TRUE(change);
  EXPECT_EQ(change->ram, kGiB);
  EXPECT_EQ(change->vram, (Vram{{"CUDA1", kMiB}, {"CUDA0", kMiB * 2}, {"CUDA2", kMiB * 3}}));
}

TEST(BudgetChange, WhatIsNotGivenStays) {
  const auto change = budget_change({}, {"CUDA0"}, {});
  ASSERT_TRUE(change);
  EXPECT_FALSE(change->ram);
  EXPECT_TRUE(change->vram.empty());
}

TEST(BudgetChange, RefusesWhatNoGpuCanBeMeant) {
  const plan::OptionNames names{.ram = "--ram", .vram = "--vram"};
  const auto message = [&](const Budgets& budgets, const std::vector<std::string>& used) {
    const auto change = budget_change(budgets, used, names);
    if (change) return std::string("not refused");
    EXPECT_EQ(change.error().code, ErrorCode::kInvalidArgument);
    return change.error().message;
  };
  EXPECT_EQ(message({.ram = Bytes{}}, {}), "--ram: a budget of 0 bytes holds nothing");
  EXPECT_EQ(message({.vram = {{"", kMiB}}}, {}), "no GPU is used: start with --vram");
  EXPECT_EQ(message({.vram = {{"CUDA0"}}}, {"CUDA0"}),
            "--vram: a new budget of CUDA0 needs a size, as in 8GiB");
  EXPECT_EQ(message({.vram = {{"", kMiB}, {"", kMiB}}}, {"CUDA0"}),
            "--vram names 2 budgets and 1 GPUs are used");
  EXPECT_EQ(message({.vram = {{"CUDA0", kMiB}, {"CUDA0", kMiB}}}, {"CUDA0"}),
            "--vram: CUDA0 has a budget already");
}

}  // namespace
}  // namespace brimful::session
