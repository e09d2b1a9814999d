#include "foreign/fence.h"

#include <gtest/gtest.h>

#include <atomic>
#include <list>
#include <memory>
#include <new>
#include <nlohmann/json.hpp>
#include <string>
#include <thread>
#include <vector>

namespace brimful::foreign {
namespace {

/// Keeps the optimizer from removing memory that is never used.
template <typename T>
auto looked_at(const T& pointer) {
  asm volatile("" : : "r"(pointer.get()) : "memory");
  return pointer.get();
}

constexpr FenceLimits kWide{kMiB * 64, std::chrono::minutes(10)};

TEST(Fence, LetsWorkThroughThatStaysWithinIt) {
  const auto sum = fenced(kWide, [](const Fence&) {
    std::vector<int> numbers(1000, 2);
    int out = 0;
    for (const int number : numbers) out += number;
    return out;
  });
  ASSERT_TRUE(sum) << sum.error().message;
  EXPECT_EQ(*sum, 2000);
}

TEST(Fence, EndsWorkThatTakesTooMuchMemory) {
  const auto filled = fenced({kMiB * 4, std::chrono::seconds(60)}, [](const Fence&) {
    std::list<std::string> all;
    for (;;) all.emplace_back(1000, 'x');
  });
  ASSERT_FALSE(filled);
  EXPECT_EQ(filled.error().code, ErrorCode::kInvalidArgument);
  EXPECT_EQ(filled.error().message, "it takes more than 4.0 MiB of memory");
}

TEST(Fence, RefusesOneBlockThatIsLargerThanItself) {
  const auto filled = fenced({kMiB, std::chrono::seconds(60)}, [](const Fence&) {
    return looked_at(std::make_unique<char[]>(std::size_t{1} << 40)) != nullptr;
  });
  ASSERT_FALSE(filled);
}

TEST(Fence, EndsWorkThatTakesTooMuchTime) {
  const auto endless = fenced({kMiB * 64, std::chrono::milliseconds(20)}, [](const Fence&) {
    for (;;) looked_at(std::make_unique<std::string>(100, 'x'));
  });
  ASSERT_FALSE(endless);
  EXPECT_EQ(endless.error().message, "it takes more than 20 ms");
}

[[gnu::noinline]] int deeper(int level) {
  if (level < 0) return 0;
  const auto here = std::make_unique<int>(level);
  looked_at(here);
  return deeper(level + 1) + *here;
}

TEST(Fence, EndsARecursionBeforeTheStackDoes) {
  const auto deep = fenced(kWide, [](const Fence&) { return deeper(0); });
  ASSERT_FALSE(deep);
  EXPECT_EQ(deep.error().message, "its recursion is too deep");
}

TEST(Fence, KnowsTheStackOfAnyThread) {
  std::string said;
  std::thread([&] {
    const auto deep = fenced(kWide, [](const Fence&) { return deeper(0); });
    said = deep ? "" : deep.error().message;
  }).join();
  EXPECT_EQ(said, "its recursion is too deep");
}

TEST(Fence, HoldsAgainstALibraryThatCatchesAndGoesOn) {
  int caught = 0;
  const auto stubborn = fenced({kMiB, std::chrono::seconds(60)}, [&](const Fence&) {
    for (int i = 0; i < 3; ++i) {
      try {
        std::list<std::string> all;
        for (;;) all.emplace_back(1000, 'x');
      } catch (const std::exception&) {
        ++caught;
      }
    }
    return std::string("as if nothing were");
  });
  EXPECT_EQ(caught, 3);
  ASSERT_FALSE(stubborn);
  EXPECT_EQ(stubborn.error().message, "it takes more than 1.0 MiB of memory");
}

struct AllocatesAtItsEnd {
  ~AllocatesAtItsEnd() { text = std::make_unique<std::string>(100, 'x'); }
  std::unique_ptr<std::string> text;
};

TEST(Fence, DoesNotThrowWhileAnExceptionIsOnItsWay) {
  const auto thrown = fenced({Bytes{1000}, std::chrono::seconds(60)}, [](const Fence&) {
    const AllocatesAtItsEnd last;
    std::vector<char> much(1 << 20);
    return much.size();
  });
  ASSERT_FALSE(thrown);  // and the process goes on
}

struct AllocatesOnceAtItsEnd {
  [[gnu::noinline]] ~AllocatesOnceAtItsEnd() { looked_at(std::make_unique<int>(1)); }
};

TEST(Fence, DoesNotThrowInADestructor) {
  const auto caught = fenced({kMiB, std::chrono::seconds(60)}, [](const Fence& fence) {
    try {
      looked_at(std::make_unique<std::vector<char>>(2 << 20));
    } catch (const std::exception&) {  // libraries catch exceptions and go on
    }
    EXPECT_TRUE(fence.is_hit());
    const AllocatesOnceAtItsEnd last;
  });
  ASSERT_FALSE(caught);
  EXPECT_EQ(caught.error().message, "it takes more than 1.0 MiB of memory");
}

TEST(Fence, EndsWorkBeforeJsonThatIsDestroyedEndsTheProcess) {
  // The destructor of nlohmann::json collects its elements in a list, and so it allocates.
  for (std::uint64_t bytes = 100'000; bytes < 1'500'000; bytes += 10'000) {
    const auto read = fenced({Bytes{bytes}, std::chrono::seconds(60)}, [](const Fence&) {
      std::size_t sum = 0;
      for (int i = 0; i < 3; ++i) {
        try {
          nlohmann::json list = nlohmann::json::array();
          for (int j = 0; j < 2000; ++j) list.push_back({{"a", {j, {{"b", j}}}}});
          sum += nlohmann::json(list).size();
        } catch (const std::exception&) {  // libraries catch exceptions and go on
        }
      }
      return sum;
    });
    EXPECT_EQ(read.has_value(), false) << bytes;
  }
}

TEST(Fence, IsReportedEvenWhereTheLibraryAcceptsNull) {
  const auto none = fenced({Bytes{1000}, std::chrono::seconds(60)}, [](const Fence&) {
    const std::unique_ptr<char[]> block(new (std::nothrow) char[1 << 20]);
    EXPECT_EQ(looked_at(block), nullptr);
  });
  ASSERT_FALSE(none);
}

TEST(Fence, TellsWhatALibraryThrew) {
  const auto thrown =
      fenced(kWide, [](const Fence&) -> int { throw std::runtime_error("the library's own words"); });
  ASSERT_FALSE(thrown);
  EXPECT_EQ(thrown.error().message, "the library's own words");
}

TEST(Fence, CountsWhatIsFreedAgain) {
  const auto many = fenced({kMiB, std::chrono::seconds(60)}, [](const Fence& fence) {
    for (int i = 0; i < 1000; ++i) std::string(100'000, 'x').clear();
    return fence.held();
  });
  ASSERT_TRUE(many) << many.error().message;
  EXPECT_LT(*many, 1000);
}

TEST(Fence, CountsForTheFenceAroundIt) {
  const auto both = fenced(kWide, [](const Fence& outer) {
    std::string kept;
    const auto inner = fenced(kWide, [&](const Fence&) { kept.assign(100'000, 'x'); });
    return inner.has_value() && outer.held() >= 100'000;
  });
  ASSERT_TRUE(both);
  EXPECT_TRUE(*both);
}

TEST(Fence, LeavesOtherThreadsAlone) {
  bool filled = false;
  std::atomic<bool> go = false;
  std::thread other([&] {
    while (!go) std::this_thread::yield();
    filled = std::vector<char>(1 << 20).size() == 1 << 20;
  });
  {
    const Fence fence({Bytes{1}, std::chrono::seconds(60)});
    go = true;
    other.join();
  }
  EXPECT_TRUE(filled);
}

}  // namespace
}  // namespace brimful::foreign
