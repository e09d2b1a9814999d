#include "hardware/host_budget.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace brimful::hardware {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;
using ::testing::StartsWith;

CgroupMemory cgroup(Bytes limit, Bytes usage, Bytes cache, const std::string& name = "/x") {
  return {"/sys/fs/cgroup" + name, limit, usage, cache, std::nullopt, name};
}

BudgetBounds machine(Bytes total, Bytes available, std::vector<CgroupMemory> cgroups = {}) {
  return {.host = {total, available, std::move(cgroups)}};
}

HostBudget decided(std::optional<Bytes> wanted, const BudgetBounds& bounds) {
  return decide_host_budget(wanted, bounds, "the budget");
}
Bytes default_of(const BudgetBounds& bounds) { return decided({}, bounds).bytes; }

TEST(DefaultHostBudget, LeavesAReserveOfWhatIsFree) {
  EXPECT_EQ(default_of(machine(kGiB * 32, kGiB * 20)), kGiB * 19);  // 5%
  // The reserve is at least 256 MiB.
  EXPECT_EQ(default_of(machine(kGiB * 32, kGiB * 2)), kMiB * (2048 - 256));
  EXPECT_EQ(default_of(machine(kGiB * 32, kMiB * 300)), kMiB * 150);  // The reserve is at most half.
  EXPECT_EQ(default_of(machine(kGiB * 32, Bytes{})), Bytes{});
}

TEST(DefaultHostBudget, FollowsTheTightestCgroup) {
  EXPECT_EQ(default_of(machine(kGiB * 32, kGiB * 30,
                               {cgroup(kGiB * 24, kGiB * 2, kGiB), cgroup(kGiB * 25, kGiB * 6, kGiB)})),
            kGiB * 19);  // 25 - (6 - 1) = 20 GiB are left, less 5%.
  EXPECT_EQ(default_of(machine(kGiB * 32, kGiB * 30, {cgroup(kGiB, kGiB * 2, Bytes{})})), Bytes{});
}

TEST(DefaultHostBudget, LeavesWhatOtherInstancesWillStillTake) {
  BudgetBounds bounds = machine(kGiB * 32, kGiB * 20);
  bounds.others = {{.pid = 7, .promised = kGiB * 12, .untaken = kGiB * 10, .memory_cgroup = ""}};
  const HostBudget budget = decided({}, bounds);
  EXPECT_EQ(budget.bytes, kMiB * (10240 - 512));
  ASSERT_TRUE(budget.note);
  EXPECT_THAT(*budget.note, HasSubstr("process 7 may use 12.00 GiB"));
}

TEST(DefaultHostBudget, IsSharedByThoseThatStartAtOnce) {
  BudgetBounds bounds = machine(kGiB * 32, kGiB * 20);
  bounds.starting = 1;
  EXPECT_EQ(default_of(bounds), kMiB * 19 * 512);
}

TEST(DefaultHostBudget, HoldsWhatTheProcessHasAlready) {
  BudgetBounds bounds = machine(kGiB * 32, kGiB * 19);
  bounds.own = kGiB;
  EXPECT_EQ(default_of(bounds), kGiB * 19);  // 20 GiB less 5%.
}

TEST(DefaultHostBudget, CountsAnotherInstanceOnlyInItsOwnCgroup) {
  BudgetBounds bounds = machine(kGiB * 32, kGiB * 30, {cgroup(kGiB * 20, Bytes{}, Bytes{}, "/a")});
  bounds.others = {{.pid = 7, .promised = kGiB * 4, .untaken = kGiB * 4, .memory_cgroup = "/b"}};
  EXPECT_EQ(default_of(bounds), kGiB * 19);
  bounds.others[0].memory_cgroup = "/ab";
  EXPECT_EQ(default_of(bounds), kGiB * 19);
  for (const char* inside : {"/a", "/a/c", ""}) {
    bounds.others[0].memory_cgroup = inside;
    EXPECT_EQ(default_of(bounds).value, (kGiB * 16).value - (kGiB * 16).value / 20) << inside;
  }
}

TEST(GivenHostBudget, IsWhatTheUserSays) {
  const HostBudget budget = decided(kGiB * 8, machine(kGiB * 32, kGiB * 20));
  EXPECT_EQ(budget.bytes, kGiB * 8);
  EXPECT_FALSE(budget.note);
}

TEST(GivenHostBudget, CountsAsWhatTheMachineHas) {
  const HostBudget budget = decided(kGiB * 1024, machine(kGiB * 32, kGiB * 20));
  EXPECT_EQ(budget.bytes, kGiB * 19);
  ASSERT_TRUE(budget.note);
  EXPECT_THAT(*budget.note, StartsWith("the budget 1024.00 GiB is more than the machine has (32.00 GiB)"));
}

TEST(GivenHostBudget, IsKeptWithANoteWhereLessIsFree) {
  const HostBudget budget = decided(kGiB * 24, machine(kGiB * 32, kGiB * 20));
  EXPECT_EQ(budget.bytes, kGiB * 24);
  ASSERT_TRUE(budget.note);
  EXPECT_THAT(*budget.note,
              StartsWith("the budget 24.00 GiB is more than the 20.00 GiB of memory that is free"));
}

TEST(GivenHostBudget, IsTheCgroupsLimitAndNamesIt) {
  const HostBudget budget =
      decided(kGiB * 8, machine(kGiB * 32, kGiB * 20, {cgroup(kMiB * 300, kMiB * 2, Bytes{})}));
  EXPECT_EQ(budget.bytes, kMiB * 300);
  ASSERT_TRUE(budget.note);
  EXPECT_THAT(*budget.note, StartsWith("the budget 8.00 GiB: the cgroup /sys/fs/cgroup/x is limited to 300"));
  EXPECT_THAT(*budget.note, Not(HasSubstr("other processes")));
}

TEST(GivenHostBudget, IsExactlyTheCgroupsLimitWhereItIsAsLarge) {
  const HostBudget budget =
      decided(kMiB * 300, machine(kGiB * 32, kGiB * 20, {cgroup(kMiB * 300, kMiB * 9, kMiB)}));
  EXPECT_EQ(budget.bytes, kMiB * 300);
  EXPECT_FALSE(budget.note);
}

TEST(GivenHostBudget, LeavesWhatOtherProcessesTakeOfTheCgroup) {
  BudgetBounds bounds = machine(kGiB * 32, kGiB * 20, {cgroup(kMiB * 300, kMiB * 140, kMiB * 10)});
  bounds.own = kMiB * 30;
  const HostBudget budget = decided(kMiB * 300, bounds);
  EXPECT_EQ(budget.bytes, kMiB * 200);
  ASSERT_TRUE(budget.note);
  EXPECT_THAT(*budget.note, HasSubstr("of which other processes use 100"));
}

TEST(GivenHostBudget, LeavesWhatOtherInstancesWillStillTake) {
  BudgetBounds bounds = machine(kGiB * 32, kGiB * 20);
  bounds.others = {{.pid = 7, .promised = kGiB * 12, .untaken = kGiB * 12, .memory_cgroup = ""},
                   {.pid = 8, .promised = kGiB, .untaken = Bytes{}, .memory_cgroup = ""}};
  const HostBudget budget = decided(kGiB * 16, bounds);
  EXPECT_EQ(budget.bytes, kGiB * 8);
  ASSERT_TRUE(budget.note);
  EXPECT_THAT(*budget.note,
              StartsWith("the budget 16.00 GiB: brimful process 7 may use 12.00 GiB, with 1 more running"));
  EXPECT_EQ(decided(kGiB * 4, bounds).bytes, kGiB * 4);
}

}  // namespace
}  // namespace brimful::hardware
