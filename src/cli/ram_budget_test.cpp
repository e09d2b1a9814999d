#include "cli/ram_budget.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace brimful::cli {
namespace {

using testing::HasSubstr;

TEST(RamBudget, TakesSizesWithUnitsAndLargeNumbersOfBytes) {
  EXPECT_EQ(parse_ram("12GiB"), kGiB * 12);
  EXPECT_EQ(parse_ram("64KiB"), kKiB * 64);
  EXPECT_EQ(parse_ram("1048576"), kMiB);
}

TEST(RamBudget, ASmallNumberWithoutAUnitIsRefusedWithAHint) {
  const auto refused = parse_ram("12");
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code, ErrorCode::kInfeasible);
  EXPECT_THAT(refused.error().message, HasSubstr("--ram 12: a budget of 12 bytes"));
  EXPECT_THAT(refused.error().message, HasSubstr("use a unit, as in 12GiB"));
}

TEST(RamBudget, ZeroAndWordsAreInvalid) {
  for (const char* const text : {"0", "0GiB", "a lot"}) {
    const auto refused = parse_ram(text);
    ASSERT_FALSE(refused) << text;
    EXPECT_EQ(refused.error().code, ErrorCode::kInvalidArgument);
    EXPECT_THAT(refused.error().message, HasSubstr("--ram"));
  }
}

}  // namespace
}  // namespace brimful::cli
