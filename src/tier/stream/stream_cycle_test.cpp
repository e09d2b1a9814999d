#include "tier/stream/stream_cycle.h"

#include <gtest/gtest.h>

#include <optional>

namespace brimful::tier {
namespace {

using Piece = std::vector<StreamEntry>;

Piece piece(std::uint64_t first, std::size_t count) {
  Piece out;
  for (std::uint64_t i = 0; i < count; ++i) out.push_back({0, (first + i) * 4096, 4096});
  return out;
}

TEST(StreamCycle, APassInOnePieceIsKnownAtOnce) {
  StreamCycle cycle;
  const Piece all = piece(0, 5);
  const auto first = cycle.next(all);
  EXPECT_TRUE(first.restart);
  EXPECT_TRUE(first.last);
  for (int pass = 0; pass < 3; ++pass) {
    const auto again = cycle.next(all);
    EXPECT_FALSE(again.restart);
    EXPECT_EQ(again.begin, 0U);
    EXPECT_TRUE(again.last);
  }
  EXPECT_EQ(cycle.entries(), all);
}

/// From the third pass on at the latest, the pieces follow one another as one schedule, wherever it begins.
void expect_learned(StreamCycle& cycle, const std::vector<Piece>& pieces) {
  for (int pass = 0; pass < 2; ++pass) {
    for (const Piece& one : pieces) (void)cycle.next(one);
  }
  std::size_t entries = 0;
  for (const Piece& one : pieces) entries += one.size();
  std::optional<std::size_t> next;
  for (int pass = 0; pass < 3; ++pass) {
    for (std::size_t i = 0; i < pieces.size(); ++i) {
      const auto part = cycle.next(pieces[i]);
      EXPECT_FALSE(part.restart) << "pass " << pass << ", piece " << i;
      EXPECT_EQ(part.begin, next.value_or(part.begin));
      next = (part.begin + pieces[i].size()) % entries;
      EXPECT_EQ(part.last, *next == 0);
    }
  }
  EXPECT_EQ(cycle.entries().size(), entries);
}

TEST(StreamCycle, PiecesAreLearnedInTwoPasses) {
  StreamCycle cycle;
  expect_learned(cycle, {piece(0, 2), piece(2, 3), piece(5, 1)});
}

TEST(StreamCycle, AnotherGraphIsLearnedToo) {
  StreamCycle cycle;
  expect_learned(cycle, {piece(0, 2), piece(2, 3)});
  expect_learned(cycle, {piece(0, 5)});
  expect_learned(cycle, {piece(1, 2), piece(3, 3), piece(0, 1)});
  expect_learned(cycle, {piece(0, 2), piece(2, 3)});
}

TEST(StreamCycle, APieceThatBeginsAsTheCycleDoesIsNotTakenForIt) {
  StreamCycle cycle;
  expect_learned(cycle, {piece(0, 4)});
  const auto shorter = cycle.next(piece(0, 2));  // the rest of the schedule may follow
  EXPECT_FALSE(shorter.restart);
  EXPECT_FALSE(shorter.last);
  EXPECT_TRUE(cycle.next(piece(7, 2)).restart);
}

TEST(StreamCycle, AfterABrokenPassItBeginsAgain) {
  StreamCycle cycle;
  expect_learned(cycle, {piece(0, 2), piece(2, 3)});
  (void)cycle.next(piece(0, 2));
  cycle.forget();
  EXPECT_TRUE(cycle.next(piece(0, 2)).restart);
  expect_learned(cycle, {piece(0, 2), piece(2, 3)});
}

}  // namespace
}  // namespace brimful::tier
