#include "tier/experts/expert_slots.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <numeric>
#include <random>

namespace brimful::tier {
namespace {

using Experts = std::vector<std::uint32_t>;

/// One step as the cache does it; returns the slots of its experts.
Experts step(ExpertSlots& slots, const Experts& used) {
  slots.begin_step(used);
  for (const std::uint32_t expert : used) {
    EXPECT_TRUE(slots.slot_of(expert) || slots.claim(expert)) << "no slot for expert " << expert;
  }
  Experts out;
  for (const std::uint32_t expert : used) out.push_back(slots.slot_of(expert).value_or(UINT32_MAX));
  return out;
}

// An expert that is evicted while its step still needs it gives wrong weights and no error.
TEST(ExpertSlots, NeverEvictWhatTheStepUses) {
  std::mt19937 random(1);
  for (const std::uint32_t count : {8U, 9U, 16U}) {
    ExpertSlots slots(64, count, 8);
    Experts all(64);
    std::iota(all.begin(), all.end(), 0U);
    for (int i = 0; i < 500; ++i) {
      std::ranges::shuffle(all, random);
      const Experts used(all.begin(), all.begin() + 8);
      Experts places = step(slots, used);
      for (std::size_t k = 0; k < used.size(); ++k) ASSERT_EQ(slots.expert_in(places[k]), used[k]);
      std::ranges::sort(places);
      ASSERT_TRUE(std::ranges::adjacent_find(places) == places.end()) << "two experts in one slot";
    }
  }
}

TEST(ExpertSlots, NoSlotIsGivenWhereTheStepUsesAll) {
  ExpertSlots slots(8, 2, 8);
  step(slots, {0, 1});
  EXPECT_FALSE(slots.claim(2));
  slots.begin_step(Experts{0});
  EXPECT_TRUE(slots.claim(2));
  EXPECT_FALSE(slots.slot_of(1));
  EXPECT_TRUE(slots.slot_of(0));
}

TEST(ExpertSlots, AHeldSlotKeepsItsExpert) {
  ExpertSlots slots(8, 2, 8);
  step(slots, {0, 1});
  slots.begin_step(Experts{5});
  slots.hold(*slots.slot_of(0), true);
  ASSERT_TRUE(slots.claim(5));
  EXPECT_TRUE(slots.slot_of(0));
  EXPECT_FALSE(slots.slot_of(1));
}

TEST(ExpertSlots, TheExpertUsedMostLatelyStays) {
  ExpertSlots slots(8, 2, 4);
  for (int i = 0; i < 10; ++i) step(slots, {0});
  step(slots, {1});  // used once, but last
  step(slots, {2});
  EXPECT_TRUE(slots.slot_of(0));
  EXPECT_FALSE(slots.slot_of(1));
  for (int i = 0; i < 40; ++i) step(slots, {2});  // half-lives later
  step(slots, {3});
  EXPECT_FALSE(slots.slot_of(0)) << "what was popular once is not kept for good";
}

TEST(ExpertSlots, OutweighsWhatIsUsedMuchLess) {
  ExpertSlots slots(8, 1, 64);
  EXPECT_TRUE(slots.outweighs(0)) << "an empty slot";
  ASSERT_TRUE(slots.claim(0));
  slots.begin_step(Experts{1});
  slots.begin_step(Experts{1});
  EXPECT_FALSE(slots.outweighs(1)) << "used twice, by chance";
  slots.begin_step(Experts{1});
  EXPECT_TRUE(slots.outweighs(1));
  for (int i = 0; i < 10; ++i) slots.begin_step(Experts{0});
  EXPECT_FALSE(slots.outweighs(1));
  slots.begin_step(Experts{0, 1});
  EXPECT_FALSE(slots.outweighs(1)) << "none that the step uses is given away";
}

TEST(ExpertSlots, AnEmptiedSlotIsTakenFirst) {
  ExpertSlots slots(8, 3, 8);
  step(slots, {0, 1, 2});
  slots.empty(*slots.slot_of(1));
  EXPECT_FALSE(slots.slot_of(1));
  step(slots, {4});
  EXPECT_TRUE(slots.slot_of(0));
  EXPECT_TRUE(slots.slot_of(2));
}

}  // namespace
}  // namespace brimful::tier
