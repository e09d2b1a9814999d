#include "schedule/kv_cells.h"

#include <gtest/gtest.h>

#include <utility>

namespace brimful::schedule {
namespace {

using SharedPrefix = KvCells::SharedPrefix;

/// A prefix of links with these sizes, the first one in front.
std::shared_ptr<SharedPrefix> chain(KvCells& cells, std::initializer_list<std::uint32_t> sizes) {
  std::shared_ptr<SharedPrefix> out;
  for (const std::uint32_t size : sizes)
    out = std::make_shared<SharedPrefix>(cells.reserve(size).value(), std::move(out));
  return out;
}

TEST(KvCells, AReservationGivesItsCellsBackAtItsEnd) {
  KvCells cells(10);
  {
    const auto four = cells.reserve(4);
    ASSERT_TRUE(four);
    EXPECT_EQ(four->count(), 4U);
    EXPECT_EQ(cells.free(), 6U);
    const auto rest = cells.reserve(6);
    EXPECT_TRUE(rest);
    EXPECT_EQ(cells.free(), 0U);
  }
  EXPECT_EQ(cells.free(), 10U);
  EXPECT_EQ(cells.capacity(), 10U);
}

TEST(KvCells, MoreThanAreFreeAreRefusedAndNothingIsClaimed) {
  KvCells cells(10);
  auto four = cells.reserve(4);
  EXPECT_FALSE(cells.reserve(7));
  EXPECT_FALSE(cells.reserve(UINT32_MAX));
  EXPECT_FALSE(four->extend(7));
  EXPECT_FALSE(four->extend(UINT32_MAX)) << "the sum with the cells that it has would overflow";
  EXPECT_EQ(four->count(), 4U);
  EXPECT_EQ(cells.free(), 6U);
  EXPECT_TRUE(four->extend(6));
  EXPECT_EQ(four->count(), 10U);
  EXPECT_TRUE(cells.reserve(0)) << "no cells are always to be had";
  EXPECT_FALSE(cells.reserve(1));
}

TEST(KvCells, ACacheWithoutCellsHoldsNothing) {
  KvCells none(0);
  EXPECT_TRUE(none.reserve(0));
  EXPECT_FALSE(none.reserve(1));
}

TEST(KvCells, AReservationOfNoCacheCannotGrow) {
  KvCells::Reservation empty;
  EXPECT_FALSE(empty.extend(0));
  EXPECT_EQ(empty.count(), 0U);
}

TEST(KvCells, MovedCellsAreCountedOnce) {
  KvCells cells(10);
  auto from = cells.reserve(3).value();
  {
    KvCells::Reservation to(std::move(from));
    EXPECT_EQ(to.count(), 3U);
    auto other = cells.reserve(5).value();
    other = std::move(to);
    EXPECT_EQ(other.count(), 3U);
    EXPECT_EQ(cells.free(), 2U) << "both reservations are still there";
  }
  EXPECT_EQ(cells.free(), 10U);
}

TEST(KvCells, ASplitMovesCellsAndClaimsNone) {
  KvCells cells(10);
  auto all = cells.reserve(8).value();
  {
    auto part = all.split(3);
    EXPECT_EQ(part.count(), 3U);
    EXPECT_EQ(all.count(), 5U);
    EXPECT_EQ(cells.free(), 2U);
    EXPECT_TRUE(part.extend(2));
  }
  EXPECT_EQ(cells.free(), 5U);
  const auto everything = all.split(5);
  EXPECT_EQ(all.count(), 0U);
  EXPECT_EQ(everything.count(), 5U);
}

TEST(SharedPrefix, ItsSizeIsThatOfAllLinks) {
  KvCells cells(100);
  EXPECT_EQ(chain(cells, {30, 20, 10})->size(), 60U);
  EXPECT_EQ(cells.free(), 100U);
}

TEST(SharedPrefix, TheFirstCellsEndAtALinkOrCutOne) {
  KvCells cells(100);
  const auto all = chain(cells, {30, 20, 10});
  EXPECT_EQ(KvCells::first_of(all, 0), nullptr);
  EXPECT_EQ(KvCells::first_of(all, 60), all);
  EXPECT_EQ(KvCells::first_of(all, 50), all->before) << "whole links are not copied";
  EXPECT_EQ(KvCells::first_of(all, 30), all->before->before);

  const auto cut = KvCells::first_of(all, 35);
  EXPECT_EQ(cut->size(), 35U);
  EXPECT_EQ(cut->cells.count(), 5U);
  EXPECT_EQ(all->size(), 60U) << "the whole stays what it was";
  EXPECT_EQ(cells.free(), 40U) << "no cell is counted twice";
  EXPECT_EQ(KvCells::first_of(all, 35), cut) << "the cut is made once";
  EXPECT_EQ(KvCells::first_of(all, 1)->size(), 1U);
}

TEST(SharedPrefix, SharedCellsAreHeldUntilTheLastTextLeavesThem) {
  KvCells cells(100);
  auto longer = chain(cells, {60});
  auto beginning = KvCells::first_of(longer, 40);
  longer.reset();
  EXPECT_EQ(cells.free(), 60U) << "only the cells behind the beginning are free again";
  beginning.reset();
  EXPECT_EQ(cells.free(), 100U);
}

}  // namespace
}  // namespace brimful::schedule
