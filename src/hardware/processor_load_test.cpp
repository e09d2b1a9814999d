#include "hardware/processor_load.h"

#include <gtest/gtest.h>
#include <sched.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>

namespace brimful::hardware {
namespace {

TEST(BusyTicks, AreAllButTheIdleOnes) {
  constexpr std::string_view kStat =
      "cpu  9 9 9 9 9 9 9 9 9 9\ncpu0 1 2 4 1000 2000 8 16 32 64 128\ncpu1 100 0 0 7 7 0 0 0 0 0\nintr 5 4\n";
  const std::uint32_t first[] = {0}, both[] = {0, 1}, missing[] = {2};
  EXPECT_EQ(parse_busy_ticks(kStat, first), 63U);
  EXPECT_EQ(parse_busy_ticks(kStat, both), 163U);
  EXPECT_EQ(parse_busy_ticks(kStat, missing), std::nullopt);
  EXPECT_EQ(parse_busy_ticks("", first), std::nullopt);
}

TEST(ProcessorLoad, CountsOtherProcessesAndNotItsOwn) {
  ProcessorLoad load;
  const pid_t busy = ::fork();
  if (busy == 0) {
    for (;;) {
    }
  }
  // Wait until the other process has had half a second of a processor, however many programs compete for it.
  double others = 0;
  const auto begin = std::chrono::steady_clock::now();
  double seconds = 0;
  while (others * seconds < 0.5) {
    ::usleep(100'000);
    seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
    ProcessorLoad since_begin = load;
    const auto so_far = since_begin.of_others();
    ASSERT_TRUE(so_far);
    others = *so_far;
    ASSERT_LT(seconds, 60);
  }
  ::kill(busy, SIGKILL);
  ::waitpid(busy, nullptr, 0);
  EXPECT_GT(others, 0);
}

TEST(ProcessorLoad, OfADaemonIsNone) {
  EXPECT_FALSE(is_loaded(0.02));
  EXPECT_TRUE(is_loaded(0.5));
}

}  // namespace
}  // namespace brimful::hardware
