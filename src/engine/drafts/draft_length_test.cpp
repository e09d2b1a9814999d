#include "engine/drafts/draft_length.h"

#include <gtest/gtest.h>

namespace brimful::engine {
namespace {

constexpr std::size_t kMost = 15;

Acceptance seen(std::size_t drafted, std::size_t right, int times = 50) {
  Acceptance out;
  for (int i = 0; i < times; ++i) out.observe(drafted, right);
  return out;
}

PassTime passes(std::size_t tokens, double seconds, double stalled, PassTime known = {}) {
  for (int i = 0; i < 50; ++i) known.observe(tokens, seconds, stalled);
  return known;
}

TEST(Acceptance, IsAHalfBeforeAnythingIsKnown) {
  EXPECT_DOUBLE_EQ(Acceptance().rate(0), 0.5);
  EXPECT_DOUBLE_EQ(Acceptance().rate(7), 0.5);
}

TEST(Acceptance, IsKnownByPosition) {
  const Acceptance two_of_four = seen(4, 2);
  EXPECT_GT(two_of_four.rate(0), 0.9);
  EXPECT_GT(two_of_four.rate(1), 0.9);
  EXPECT_LT(two_of_four.rate(2), 0.2);
}

TEST(Acceptance, LearnsNothingOfTokensBehindTheFirstWrongOne) {
  Acceptance some = seen(3, 3);
  const double before = some.rate(2);
  Acceptance first_wrong = some;
  first_wrong.observe(3, 0);
  EXPECT_LT(first_wrong.rate(0), some.rate(0));
  EXPECT_NEAR(first_wrong.rate(2), before, 0.05);  // only the average of all positions changes
}

TEST(Acceptance, FollowsTheTextWithinTenDrafts) {
  Acceptance acceptance = seen(4, 4, 200);
  for (int i = 0; i < 10; ++i) acceptance.observe(4, 0);
  EXPECT_LT(acceptance.rate(0), 0.5);
}

TEST(PassTime, OfTokensThatOnlyWaitForTheDiskIsThatOfOne) {
  const PassTime pass = passes(1, 1.0, 0.9);
  EXPECT_NEAR(pass.seconds(1), 1.0, 1e-6);
  EXPECT_NEAR(pass.seconds(8), 1.0, 1e-6);  // 0.1 + 7 * 0.05 s to compute: less than the wait for the disk
  EXPECT_GT(pass.seconds(64), 3.0);
}

TEST(PassTime, LearnsWhatOneMoreTokenComputes) {
  const PassTime dear = passes(4, 0.4, 0, passes(1, 0.1, 0));
  EXPECT_NEAR(dear.seconds(4), 0.4, 0.01);
  EXPECT_NEAR(dear.seconds(8), 0.8, 0.02);
  const PassTime cheap = passes(4, 0.13, 0, passes(1, 0.1, 0));
  EXPECT_NEAR(cheap.seconds(8), 0.17, 0.02);
}

TEST(PassTime, LearnsThatMoreTokensReadMoreExperts) {
  const PassTime pass = passes(4, 2.2, 2.0, passes(1, 1.0, 0.9));
  EXPECT_NEAR(pass.seconds(1), 1.0, 1e-6);
  EXPECT_NEAR(pass.seconds(4), 2.2, 0.02);
  EXPECT_NEAR(pass.seconds(7), 3.4, 0.04);
  EXPECT_NEAR(pass.hopeful().seconds(4), 1.0, 1e-6);
}

TEST(PassTime, ForgetsTheDiskWhenNothingWaitsForItAnyMore) {
  const PassTime pass = passes(1, 0.1, 0, passes(1, 1.0, 0.9));
  EXPECT_NEAR(pass.seconds(1), 0.1, 0.01);
}

TEST(PassTime, IsNotMovedFarByOneSlowPass) {
  PassTime pass = passes(1, 0.1, 0);
  pass.observe(1, 100, 0);
  EXPECT_LT(pass.seconds(1), 0.2);
}

TEST(PassTime, CanForgetThatMoreTokensWereExpensive) {
  const PassTime dear = passes(2, 0.3, 0, passes(1, 0.1, 0));
  EXPECT_GT(dear.seconds(2), 0.25);
  EXPECT_NEAR(dear.hopeful().seconds(2), 0.15, 0.01);
  const PassTime cheap = passes(2, 0.11, 0, passes(1, 0.1, 0));
  EXPECT_NEAR(cheap.hopeful().seconds(2), 0.11, 0.01);
}

TEST(DraftLength, IsLongWhileTheDiskIsWaitedForAndDraftsComeTrue) {
  const PassTime disk = passes(1, 1.0, 0.95);
  EXPECT_EQ(best_draft_length(seen(kMost, kMost), disk, 0, kMost).tokens, kMost);
  EXPECT_EQ(best_draft_length(seen(kMost, kMost), disk, 0, 3).tokens, 3U);
  EXPECT_NEAR(best_draft_length(seen(kMost, kMost), disk, 0, 3).tokens_per_second, 4, 0.2);
}

TEST(DraftLength, EndsWhereOneMoreTokenCostsMoreThanItBrings) {
  const Acceptance even = seen(4, 2);
  const PassTime computed = passes(4, 0.25, 0, passes(1, 0.1, 0));  // each further token adds a half
  EXPECT_EQ(best_draft_length(even, computed, 0, kMost).tokens, 2U);
}

TEST(DraftLength, IsZeroWhenNoDraftPays) {
  const PassTime resident = passes(8, 0.8, 0, passes(1, 0.1, 0));  // as slow as one pass for each token
  const DraftLength none = best_draft_length(seen(8, 6), resident, 0, kMost);
  EXPECT_EQ(none.tokens, 0U);
  EXPECT_NEAR(none.tokens_per_second, 10, 0.1);
  EXPECT_EQ(best_draft_length(seen(8, 0), passes(1, 0.1, 0), 0, kMost).tokens, 0U);
}

TEST(DraftLength, CountsTheTimeOfDrafting) {
  const PassTime disk = passes(1, 1.0, 0.95);
  const Acceptance good = seen(4, 3);
  EXPECT_GE(best_draft_length(good, disk, 0.01, 4).tokens, 3U);
  EXPECT_EQ(best_draft_length(good, disk, 2.0, 4).tokens, 0U);
}

}  // namespace
}  // namespace brimful::engine
