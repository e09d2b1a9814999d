#include "hardware/visible_gpus.h"

#include <gtest/gtest.h>

namespace brimful::hardware {
namespace {

/// The names of the cards that are visible, of two whole ones and two instances of a divided one.
std::string seen(const std::optional<std::string>& value) {
  const std::vector<Gpu> all{
      {.name = "a"}, {.name = "b"}, {.name = "c", .instance = "MIG-76"}, {.name = "d", .instance = "MIG-77"}};
  std::string out;
  for (const Gpu& gpu : visible_gpus(all, value)) out += gpu.name;
  return out;
}

TEST(VisibleGpus, AreAllWithoutAValueAndNoneWithAnEmptyOne) {
  EXPECT_EQ(seen(std::nullopt), "abcd");
  EXPECT_EQ(seen(""), "");
  EXPECT_EQ(seen("-1"), "");
  EXPECT_EQ(seen("NoDevFiles"), "");
}

TEST(VisibleGpus, AreThoseOfTheListInItsOrder) {
  EXPECT_EQ(seen("1"), "b");
  EXPECT_EQ(seen("2, 0"), "ca");
  EXPECT_EQ(seen("MIG-77,0"), "da");
  EXPECT_EQ(seen("GPU-1a"), "abcd") << "nobody knows the UUIDs of whole cards";
}

TEST(VisibleGpus, EndWithTheFirstPartThatIsNoCard) {
  EXPECT_EQ(seen("0,9,1"), "a");
  EXPECT_EQ(seen("0,-1,1"), "a");
  EXPECT_EQ(seen("2,2"), "c");
  EXPECT_EQ(seen("1,MIG-7"), "b") << "two instances begin so";
}

}  // namespace
}  // namespace brimful::hardware
