#include "tier/host/thread_count.h"

#include <gtest/gtest.h>

namespace brimful::tier {
namespace {

using namespace std::chrono_literals;

/// A clock, and what a machine shows to the threads that compute.
class Simulation {
 public:
  explicit Simulation(int most) : count(most) {}

  /// Computes for `wall`. `longest` and `all` are the shares of that time that the slowest thread and all
  /// threads together wait; `own_others` processors are used by other threads of this process.
  void compute(ThreadCount::Duration wall, double longest, double all, double own_others = 0) {
    time += wall;
    const auto part = [&](double share) {
      return std::chrono::duration_cast<ThreadCount::Duration>(wall * share);
    };
    count.computed(time, {count.now(), wall, part(longest), part(all), own_others});
  }
  /// Another program uses `busy` of `processors` processors for `duration`, and the kernel shares them as it
  /// does.
  void run(std::chrono::milliseconds duration, int processors, double busy) {
    for (const auto end = time + duration; time < end;) {
      const double over = std::max(0.0, count.now() + busy - processors);
      compute(count.window(), over > 0 ? 0.5 : 0.001, over > 0 ? std::max(0.5, over / 2) : 0.001);
      if (count.wants_idle(time)) count.processors_idle(time, std::max(0.0, processors - count.now() - busy));
    }
  }

  ThreadCount count;
  ThreadCount::Time time = ThreadCount::Time{} + 1h;
};

TEST(ThreadCount, StaysWhereNothingDisturbs) {
  Simulation machine(8);
  machine.run(60s, 8, 0);
  EXPECT_EQ(machine.count.now(), 8);
}

TEST(ThreadCount, TakesBackTheThreadThatWaits) {
  Simulation machine(2);
  machine.run(1s, 2, 1);
  EXPECT_EQ(machine.count.now(), 1);
}

TEST(ThreadCount, LeavesAsManyThreadsAsThereAreProcessors) {
  Simulation machine(8);
  for (int i = 0; i < 2; ++i) machine.compute(40ms, 0.75, 6);  // eight threads on two processors
  EXPECT_EQ(machine.count.now(), 2);
}

TEST(ThreadCount, TakesOneOfManyWhereOneProcessorIsTaken) {
  Simulation machine(16);
  machine.run(1s, 16, 1);
  EXPECT_EQ(machine.count.now(), 15);
}

TEST(ThreadCount, IgnoresATimeSliceOfAnotherProgram) {
  Simulation machine(16);
  machine.compute(40ms, 0.1, 0.1);
  EXPECT_EQ(machine.count.now(), 16);
}

/// Something runs on a desktop for some ten milliseconds all the time.
TEST(ThreadCount, IgnoresAnotherProgramThatRunsForOneWindow) {
  Simulation machine(2);
  for (int i = 0; i < 100; ++i) {
    machine.compute(40ms, 0.6, 0.6);
    EXPECT_EQ(machine.count.now(), 2);
    machine.run(100ms, 2, 0);
  }
}

/// A program that runs again a second after the first time is no reason to leave a processor idle for long.
TEST(ThreadCount, GivesAThreadAgainSoonAfterEachBurstOfAnotherProgram) {
  Simulation machine(2);
  for (int i = 0; i < 10; ++i) {
    machine.run(200ms, 2, 1);
    EXPECT_EQ(machine.count.now(), 1);
    machine.run(700ms, 2, 0);
    EXPECT_EQ(machine.count.now(), 2) << "burst " << i;
    machine.run(600ms, 2, 0);
  }
}

/// Threads that send weights for a prompt take the processors, and end with it: the next token has all
/// threads.
TEST(ThreadCount, GivesThreadsAgainAsSoonAsOwnThreadsHaveEnded) {
  Simulation machine(4);
  for (int i = 0; i < 5; ++i) {
    for (int window = 0; window < 10; ++window) machine.compute(40ms, 0.6, 1.5, 1.5);
    EXPECT_LT(machine.count.now(), 4);
    machine.compute(40ms, 0, 0);
    EXPECT_EQ(machine.count.now(), 4);
    machine.run(100ms, 4, 0);
  }
}

TEST(ThreadCount, NeverTakesTheLastThread) {
  Simulation machine(1);
  machine.compute(40ms, 0.9, 0.9);
  EXPECT_EQ(machine.count.now(), 1);
  Simulation two(2);
  for (int i = 0; i < 2; ++i) two.compute(40ms, 1, 2);
  EXPECT_EQ(two.count.now(), 1);
}

TEST(ThreadCount, NoticesWithinTwoSecondsThatAProgramBeginsAndEnds) {
  for (const int processors : {2, 4, 16}) {
    Simulation machine(processors);
    machine.run(10s, processors, 0);
    machine.run(2s, processors, 1);
    EXPECT_EQ(machine.count.now(), processors - 1) << processors;
    machine.run(60s, processors, 1);
    EXPECT_EQ(machine.count.now(), processors - 1) << processors;
    machine.run(2s, processors, 0);
    EXPECT_EQ(machine.count.now(), processors) << processors;
  }
}

TEST(ThreadCount, TriesMoreRarelyTheMoreOftenThatFails) {
  Simulation machine(2);
  machine.run(60s, 2, 1);
  int tries = 0;
  bool trying = false;
  for (const auto end = machine.time + 160s; machine.time < end;) {
    machine.run(20ms, 2, 1);
    tries += machine.count.on_trial() && !trying ? 1 : 0;
    trying = machine.count.on_trial();
  }
  EXPECT_GE(tries, 1);
  EXPECT_LE(tries, 11);
}

TEST(ThreadCount, IsNotDeceivedForLongByIdleProcessorsThatItMayNotHave) {
  Simulation machine(2);
  double computed_with_two = 0;
  for (const auto end = machine.time + 100s; machine.time < end;) {
    const bool two = machine.count.now() == 2;
    machine.compute(machine.count.window(), two ? 0.6 : 0, two ? 1 : 0);
    if (two) computed_with_two += 1;
    if (machine.count.wants_idle(machine.time)) machine.count.processors_idle(machine.time, 1.0);
  }
  EXPECT_LE(computed_with_two, 15);
}

TEST(ThreadCount, TriesAlsoWhereNothingIsKnownOfIdleProcessors) {
  Simulation machine(2);
  for (int i = 0; i < 2; ++i) machine.compute(40ms, 0.5, 0.5);
  ASSERT_EQ(machine.count.now(), 1);
  for (const auto end = machine.time + 2500ms; machine.time < end;) {
    machine.compute(40ms, 0, 0);
    if (machine.count.wants_idle(machine.time)) machine.count.processors_idle(machine.time, std::nullopt);
  }
  EXPECT_EQ(machine.count.now(), 2);
  EXPECT_FALSE(machine.count.on_trial()) << "200 ms without waits are over";
}

}  // namespace
}  // namespace brimful::tier
