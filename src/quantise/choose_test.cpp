#include "quantise/choose.h"

#include <gtest/gtest.h>

#include <cmath>
#include <random>

#include "quantise/budget_search.h"

namespace brimful::quantise {
namespace {

/// Items whose options get better with more bytes, as types do.
std::vector<Item> random_items(std::size_t count, std::size_t options, unsigned seed) {
  std::mt19937 random(seed);
  std::uniform_real_distribution<double> uniform(0.5, 2.0);
  std::vector<Item> out;
  for (std::size_t i = 0; i < count; ++i) {
    Item& item = out.emplace_back();
    const double weights = std::floor(1000 * uniform(random) * uniform(random));
    const double sensitivity = uniform(random) * uniform(random);
    for (std::size_t o = 0; o < options; ++o) {
      const double bits = 2.0 + static_cast<double>(o);
      item.options.push_back(
          {static_cast<std::uint64_t>(weights * bits), sensitivity * std::pow(4.0, -bits)});
    }
    item.shares = {1.0, i % 2 == 0 ? 1.0 : 0.125};
  }
  return out;
}

/// The least loss of all choices that keep the limits, by trying all of them.
double least_loss(const std::vector<Item>& items, const std::vector<double>& limits) {
  double best = INFINITY;
  std::vector<std::size_t> choice(items.size());
  for (;;) {
    bool fits = true;
    for (std::size_t k = 0; k < limits.size(); ++k)
      fits = fits && counted_bytes(items, choice, k) <= limits[k];
    if (fits) best = std::min(best, total_loss(items, choice));
    std::size_t i = 0;
    while (i < items.size() && ++choice[i] == items[i].options.size()) choice[i++] = 0;
    if (i == items.size()) return best;
  }
}

TEST(Choose, IsAsGoodAsTryingEverythingWithOneLimitAndWithTwo) {
  for (unsigned seed = 0; seed < 3; ++seed) {
    const std::vector<Item> items = random_items(6, 5, seed);
    const double least = counted_bytes(items, std::vector<std::size_t>(6, 0), 0);
    for (const double room : {1.1, 1.5, 2.2}) {
      for (const double read : {1e9, 0.7 * least * room}) {
        const std::vector<double> limits{least * room, read};
        const auto choice = choose(items, limits, 0);
        const double best = least_loss(items, limits);
        if (std::isinf(best)) {
          EXPECT_FALSE(choice) << seed;
          continue;
        }
        ASSERT_TRUE(choice) << seed;
        EXPECT_LE(counted_bytes(items, *choice, 0), limits[0]);
        EXPECT_LE(counted_bytes(items, *choice, 1), limits[1]);
        EXPECT_LE(total_loss(items, *choice), 1.05 * best + 1e-12) << seed << " " << room;
      }
    }
  }
}

TEST(Choose, FillsTheFirstLimitEvenAtALittleMoreLoss) {
  const std::vector<Item> items = random_items(30, 8, 7);
  const double least = counted_bytes(items, std::vector<std::size_t>(30, 0), 0);
  for (double room = 1.05; room < 3.0; room += 0.05) {
    const auto choice = choose(items, {least * room, 1e12}, 0.999);
    ASSERT_TRUE(choice);
    EXPECT_LE(counted_bytes(items, *choice, 0), least * room);
    EXPECT_GE(counted_bytes(items, *choice, 0), 0.999 * least * room);
  }
}

TEST(Choose, RefusesWhatNoOptionKeeps) {
  const std::vector<Item> items = random_items(4, 3, 1);
  EXPECT_FALSE(choose(items, {1.0, 1e12}, 0));
}

TEST(QuantiseGoal, IsASizeOrNamedBudgets) {
  EXPECT_EQ(parse_goal("40GiB")->size, Bytes{40ULL << 30});
  const auto both = parse_goal("vram=11.5GiB,ram=48GiB,tps=3");
  ASSERT_TRUE(both);
  EXPECT_EQ(both->vram, "11.5GiB");
  EXPECT_EQ(both->ram, Bytes{48ULL << 30});
  EXPECT_EQ(both->tokens_per_second, 3.0);
  EXPECT_FALSE(both->size);
  for (const char* const bad : {"", "tps=0", "tps=x", "ram=", "ram=3GiB,", "disk=3GiB", "vram=many"})
    EXPECT_FALSE(parse_goal(bad)) << bad;
}

}  // namespace
}  // namespace brimful::quantise
