#include "session/card_budget.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace brimful::session {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;

/// A card of 8 GiB with a desktop that holds 1 GiB, and a driver that keeps 512 MiB.
hardware::Gpu card() {
  hardware::Gpu out{.total = kGiB * 8, .free = kGiB * 8 - kMiB * 1536, .used = kMiB * 1536};
  out.reserved = kMiB * 512;
  out.draws = true;
  return out;
}

Result<CardBudget> budget(const std::string& vram, const hardware::Gpu& gpu) {
  return card_budget(parse_vram(vram, "--vram")->front(), gpu, "CUDA0", "--vram");
}

TEST(CardBudget, WithoutASizeIsWhatIsFreeLessAReserve) {
  const auto got = budget("auto", card());
  ASSERT_TRUE(got);
  EXPECT_EQ(got->bytes, kGiB * 6);
  EXPECT_THAT(got->notes,
              ElementsAre("--vram auto: the budget of CUDA0 is 6.00 GiB: 6.50 GiB of its 8.00 GiB are free "
                          "(other programs hold 1.00 GiB), and 512.0 MiB are left to other programs"));
}

TEST(CardBudget, WithASizeIsThatSizeAndSaysWhatOthersHold) {
  auto got = budget("6GiB", card());
  ASSERT_TRUE(got);
  EXPECT_EQ(got->bytes, kGiB * 6);
  EXPECT_THAT(got->notes,
              ElementsAre("CUDA0: other programs hold 1.00 GiB of its 8.00 GiB; 6.50 GiB are free"));
  EXPECT_EQ(budget("6656MiB", card())->bytes, kMiB * 6656) << "all that is free";
  got = budget("6GiB", {.total = kGiB * 8, .free = kGiB * 8});
  EXPECT_THAT(got->notes, IsEmpty());
}

TEST(CardBudget, OfMoreThanIsFreeIsWhatIsFreeLessAReserve) {
  const auto got = budget("7GiB", card());
  ASSERT_TRUE(got);
  EXPECT_EQ(got->bytes, kGiB * 6);
  EXPECT_THAT(got->notes, ElementsAre(testing::StartsWith("--vram 7GiB: the budget of CUDA0 is 6.00 GiB: ")));
}

/// Windows does not refuse what is more than the card has: it moves it to RAM.
TEST(CardBudget, UnderWindowsNeverGoesBeyondTheReserve) {
  hardware::Gpu shared = card();
  shared.managed_by_windows = true;
  EXPECT_EQ(budget("6GiB", shared)->bytes, kGiB * 6);
  const auto got = budget("6.25GiB", shared);
  ASSERT_TRUE(got);
  EXPECT_EQ(got->bytes, kGiB * 6);
  EXPECT_THAT(got->notes, ElementsAre(testing::EndsWith("Windows would move more than that to RAM")));
}

TEST(CardBudget, IsRefusedWhereThereIsNoRoom) {
  const auto large = budget("9GiB", card());
  ASSERT_FALSE(large);
  EXPECT_EQ(large.error().code, ErrorCode::kInvalidArgument);
  EXPECT_EQ(large.error().message, "--vram 9GiB: CUDA0 has 8.00 GiB in all");
  hardware::Gpu full = card();
  full.free = kMiB * 500;
  full.used = full.total - full.free;
  const auto none = budget("auto", full);
  ASSERT_FALSE(none);
  EXPECT_EQ(none.error().code, ErrorCode::kInfeasible);
  EXPECT_EQ(none.error().message,
            "--vram auto: 500.0 MiB of the 8.00 GiB of CUDA0 are free (other programs hold 7.01 GiB), and "
            "512.0 MiB are left to other programs: close some of these, or leave the GPU out");
}

TEST(GpusAreFilled, InTheOrderOfTheRatesOfTheirMemory) {
  EXPECT_THAT(fastest_first({360e9, 1008e9, 360e9}), ElementsAre(1, 0, 2));
  EXPECT_THAT(fastest_first({360e9, std::nullopt, 1008e9}), ElementsAre(0, 1, 2)) << "one is not known";
  EXPECT_THAT(fastest_first({}), IsEmpty());
}

}  // namespace
}  // namespace brimful::session
