#include "foreign/time_allowance.h"

#include <gtest/gtest.h>

namespace brimful::foreign {
namespace {

using std::chrono::milliseconds;

/// How many tokens are generated when each takes `time`; at most 1000.
int tokens_of(milliseconds time) {
  TimeAllowance allowance;
  int out = 0;
  while (out < 1000 && time <= allowance.left()) {
    allowance.spend(time);
    ++out;
  }
  return out;
}

TEST(TimeAllowance, LetsTokensThroughThatAreFast) {
  EXPECT_EQ(tokens_of(milliseconds(1)), 1000);
  EXPECT_EQ(tokens_of(TimeAllowance::kForToken), 1000);
}

TEST(TimeAllowance, EndsAnAnswerWhoseTokensAreAllSlow) {
  EXPECT_LT(tokens_of(milliseconds(400)), 10);
  EXPECT_LT(tokens_of(milliseconds(200)), 25);
}

TEST(TimeAllowance, LetsSlowTokensThroughThatAreFew) {
  TimeAllowance allowance;
  for (int i = 0; i < 100; ++i) {
    EXPECT_GE(allowance.left(), milliseconds(400));
    allowance.spend(milliseconds(400));
    for (int j = 0; j < 10; ++j) allowance.spend(milliseconds(1));
  }
}

TEST(TimeAllowance, DoesNotGrowWithoutAnEnd) {
  TimeAllowance allowance;
  for (int i = 0; i < 100; ++i) allowance.spend(milliseconds(0));
  EXPECT_EQ(allowance.left(), TimeAllowance::kAhead);
}

}  // namespace
}  // namespace brimful::foreign
