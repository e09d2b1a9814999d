#include "foreign/escape.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <csignal>
#include <cstdlib>
#include <exception>
#include <list>
#include <string>
#include <thread>

#include "foreign/fence.h"
#include "sanitized.h"

namespace brimful::foreign {
namespace {

using tests::kSanitized;

/// Loops read and write it, so that no compiler removes them.
volatile std::uint64_t spun = 0;

void spin_for_ever() {
  for (;;) spun = spun + 1;
}

int deeper(int level) {
  volatile char kept[512];
  kept[0] = static_cast<char>(level);
  return level < 0 ? 0 : deeper(level + 1) + kept[0];
}

template <typename F>
Escape::End run(const F& work) {
  return Escape::run([](const void* any) { (*static_cast<const F*>(any))(); }, &work);
}

class EscapeTest : public testing::Test {
 protected:
  void SetUp() override {
    if (kSanitized) GTEST_SKIP() << "sanitizers have handlers and stacks of their own";
  }
};

TEST_F(EscapeTest, LetsWorkThroughThatReturns) {
  bool done = false;
  EXPECT_EQ(run([&] { done = true; }), Escape::End::kReturned);
  EXPECT_TRUE(done);
}

TEST_F(EscapeTest, EndsALoopThatAllocatesNothingOnAnyThread) {
  EXPECT_EQ(run([] { spin_for_ever(); }), Escape::End::kLoop);
  EXPECT_EQ(run([] { spin_for_ever(); }), Escape::End::kLoop) << "again and again";
  std::thread([] { EXPECT_EQ(run([] { spin_for_ever(); }), Escape::End::kLoop); }).join();
}

TEST_F(EscapeTest, LeavesALoopAloneThatGetsOn) {
  const auto begin = processor_time_of_thread();
  EXPECT_EQ(run([&] {
              while (processor_time_of_thread() - begin < std::chrono::milliseconds(800)) Escape::note_step();
            }),
            Escape::End::kReturned);
}

TEST_F(EscapeTest, EndsARecursionThatFillsTheStackOnAnyThread) {
  EXPECT_EQ(run([] { spun = static_cast<std::uint64_t>(deeper(0)); }), Escape::End::kStack);
  std::thread([] {
    for (int time = 0; time < 2; ++time)
      EXPECT_EQ(run([] { spun = static_cast<std::uint64_t>(deeper(0)); }), Escape::End::kStack);
  }).join();
}

TEST_F(EscapeTest, LeavesOtherFaultsToEndTheProcess) {
  testing::GTEST_FLAG(death_test_style) = "threadsafe";
  EXPECT_EXIT(
      {
        (void)run([] {
          volatile std::uintptr_t nowhere = 64;  // so that the compiler does not know the address
          *reinterpret_cast<volatile int*>(nowhere) = 1;
        });
      },
      testing::KilledBySignal(SIGSEGV), "");
}

TEST_F(EscapeTest, LeavesAFunctionThatMustNotThrow) {
  const FenceLimits limits{.bytes = kMiB, .time = std::chrono::minutes(10), .may_escape = true};
  for (int time = 0; time < 3; ++time) {
    const auto endless = fenced(limits, [](const Fence&) {
      const auto work = []() noexcept {
        std::list<std::string> all;
        for (;;) all.emplace_back(100'000, 'x');
      };
      work();
    });
    ASSERT_FALSE(endless);
    EXPECT_EQ(endless.error().message, "it takes more than 1.0 MiB of memory");
    EXPECT_EQ(std::uncaught_exceptions(), 0);
  }
}

TEST_F(EscapeTest, IsAFenceOfTimeAndStackWhereTheLimitsAllowIt) {
  const FenceLimits limits{.bytes = kMiB, .may_escape = true};
  const Bytes before = memory_lost_to_escapes();
  const auto endless = fenced(limits, [](const Fence&) {
    const std::string lost(100'000, 'x');
    spun = lost.size();
    spin_for_ever();
  });
  ASSERT_FALSE(endless);
  EXPECT_EQ(endless.error().message, "it takes more than 1000 ms");
  EXPECT_GE(memory_lost_to_escapes(), before + Bytes{100'000});
  const auto deep = fenced(limits, [](const Fence&) { spun = static_cast<std::uint64_t>(deeper(0)); });
  ASSERT_FALSE(deep);
  EXPECT_EQ(deep.error().message, "its recursion is too deep");
  EXPECT_TRUE(fenced(limits, [](const Fence&) { return 1; })) << "the thread goes on";
}

}  // namespace
}  // namespace brimful::foreign
