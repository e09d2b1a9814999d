#include "cli/model_listing.h"

#include <gtest/gtest.h>

namespace brimful::cli {
namespace {

TEST(ParametersText, TakesTheUnitThatShowsTheNumber) {
  EXPECT_EQ(parameters_text(0), "0");
  EXPECT_EQ(parameters_text(260'000), "260000");
  EXPECT_EQ(parameters_text(15'191'712), "15.2 million");
  EXPECT_EQ(parameters_text(999'960'000), "1.0 billion");
  EXPECT_EQ(parameters_text(7'241'732'096), "7.2 billion");
  EXPECT_EQ(parameters_text(1'026'000'000'000), "1.0 trillion");
}

}  // namespace
}  // namespace brimful::cli
