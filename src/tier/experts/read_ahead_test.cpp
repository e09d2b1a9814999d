#include "tier/experts/read_ahead.h"

#include <gtest/gtest.h>

namespace brimful::tier {
namespace {

/// Saves up so many wrong guesses that only the window counts.
void save_up(ReadAhead& ahead) { ahead.missed(1000); }

TEST(ReadAhead, AllowsOneMoreWhereAllWereInTimeAndOneFewerWhereOneWasLate) {
  ReadAhead ahead;
  save_up(ahead);
  EXPECT_EQ(ahead.allowed(0, 0.1), 1U);
  ahead.tell(0, {.read = 1});
  EXPECT_EQ(ahead.allowed(0, 0.1), 2U);
  ahead.tell(0, {.read = 1});
  EXPECT_EQ(ahead.allowed(0, 0.1), 2U) << "whether a third would have been in time is not known";
  ahead.tell(0, {.read = 2});
  EXPECT_EQ(ahead.allowed(0, 0.1), 3U);
  EXPECT_EQ(ahead.allowed(1, 0.1), 1U) << "another group";
  for (int i = 0; i < 5; ++i) ahead.tell(0, {.read = 2, .late = true});
  EXPECT_EQ(ahead.allowed(0, 0.1), 1U) << "a part of a read is ahead, too";
}

TEST(ReadAhead, WrongGuessesAreASmallShareOfWhatIsMissed) {
  for (const std::size_t one_wrong_in : {1U, 2U, 3U, 20U}) {
    ReadAhead ahead;
    std::size_t missed = 0;
    std::size_t wrong = 0;
    std::size_t guess = 0;
    for (int step = 0; step < 5000; ++step) {
      ReadAhead::Outcome outcome;
      outcome.read = ahead.allowed(0, 1.0 / static_cast<double>(one_wrong_in));
      for (std::size_t i = 0; i < outcome.read; ++i) outcome.wrong += ++guess % one_wrong_in == 0 ? 1 : 0;
      ahead.tell(0, outcome);
      ahead.missed(3);
      missed += 3;
      wrong += outcome.wrong;
      ASSERT_LE(wrong * 1000, missed * 35 + 2000);
    }
    if (one_wrong_in < 20) {
      EXPECT_GE(wrong * 1000, missed * 30) << "hardly anything is left unused";
    }
    EXPECT_GE(guess, 400U);
  }
}

TEST(ReadAhead, ReadsNothingAheadWhereNothingIsMissed) {
  ReadAhead ahead;
  for (int i = 0; i < 100; ++i) ahead.missed(0);
  EXPECT_EQ(ahead.allowed(0, 0.1), 0U);
}

}  // namespace
}  // namespace brimful::tier
