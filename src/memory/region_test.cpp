#include "memory/region.h"

#include <gtest/gtest.h>
#include <sys/mman.h>

#include <algorithm>
#include <cstdint>
#include <vector>

#include "sanitized.h"

namespace brimful::memory {
namespace {

constexpr std::uint64_t kPage = 4096;

std::uint64_t present_pages(const Region& region) {
  const std::uint64_t pages = align_up(region.size().value, kPage) / kPage;
  std::vector<unsigned char> present(pages);
  EXPECT_EQ(::mincore(region.data(), pages * kPage, present.data()), 0);
  return static_cast<std::uint64_t>(
      std::count_if(present.begin(), present.end(), [](unsigned char page) { return (page & 1) != 0; }));
}

TEST(Region, TakesAddressSpaceFirstAndMemoryAtCommit) {
  auto region = Region::reserve(kMiB * 5 + Bytes{100});
  ASSERT_TRUE(region);
  EXPECT_EQ(region->size(), kMiB * 5 + Bytes{100});
  EXPECT_EQ(reinterpret_cast<std::uintptr_t>(region->data()) % (2ULL << 20), 0U);
  EXPECT_EQ(present_pages(*region), 0U);
  ASSERT_TRUE(region->commit());
  EXPECT_EQ(present_pages(*region), 5 * 256U + 1);
  EXPECT_EQ(region->data()[0], std::byte{0});
  EXPECT_EQ(region->data()[region->size().value - 1], std::byte{0});
}

TEST(Region, DiscardGivesThePagesBackAndZeroesThem) {
  auto region = Region::reserve(kMiB * 3);
  ASSERT_TRUE(region && region->commit());
  std::fill_n(region->data(), region->size().value, std::byte{0xAB});
  region->discard();
  EXPECT_EQ(present_pages(*region), 0U);
  EXPECT_TRUE(std::all_of(region->data(), region->data() + region->size().value,
                          [](std::byte byte) { return byte == std::byte{0}; }));
}

TEST(Region, ReservesFarMoreThanTheMachineHas) {
  if (tests::kThreadSanitized) GTEST_SKIP() << "most of the address space is the thread sanitizer's";
  const auto region = Region::reserve(kGiB * 4096);
  ASSERT_TRUE(region);
  EXPECT_EQ(region->size(), kGiB * 4096);
}

TEST(Region, RefusesWhatNoAddressSpaceHolds) {
  const auto region = Region::reserve(Bytes{1ULL << 62});
  ASSERT_FALSE(region);
  EXPECT_EQ(region.error().code, ErrorCode::kIo);
}

TEST(Region, OfNothingIsNothing) {
  auto region = Region::reserve(Bytes{0});
  ASSERT_TRUE(region);
  EXPECT_EQ(region->size(), Bytes{});
  EXPECT_TRUE(region->commit());
  region->discard();
}

TEST(Region, AMoveTakesTheMemoryAlong) {
  auto first = Region::reserve(kMiB);
  ASSERT_TRUE(first && first->commit());
  first->data()[17] = std::byte{7};
  std::byte* const at = first->data();
  Region second = std::move(*first);
  EXPECT_EQ(first->size(), Bytes{});
  EXPECT_EQ(second.data(), at);
  auto third = Region::reserve(kMiB * 2);
  ASSERT_TRUE(third && third->commit());
  *third = std::move(second);
  EXPECT_EQ(third->data()[17], std::byte{7});
  EXPECT_EQ(third->size(), kMiB);
}

}  // namespace
}  // namespace brimful::memory
