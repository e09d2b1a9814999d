#include "hardware/compute_threads.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "hardware/recorded_tree.h"

namespace brimful::hardware {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using testing::RecordedTree;

/// Four cores with two threads each, as the kernel numbers them on most machines: 0 and 4 share a core.
RecordedTree& four_cores(RecordedTree& root) {
  for (int i = 0; i < 8; ++i) {
    root.file("sys/devices/system/cpu/cpu" + std::to_string(i) + "/topology/core_cpus_list",
              std::to_string(i % 4) + "," + std::to_string(i % 4 + 4) + "\n");
  }
  return root;
}

TEST(ProcessorList, IsReadAsTheKernelWritesIt) {
  EXPECT_THAT(parse_processor_list("0-3,8\n"), ElementsAre(0U, 1U, 2U, 3U, 8U));
  EXPECT_THAT(parse_processor_list("5\n"), ElementsAre(5U));
  EXPECT_THAT(parse_processor_list("\n"), IsEmpty());
  EXPECT_THAT(parse_processor_list("x,2,9-99999999999999"), ElementsAre(2U));
}

TEST(ComputeLimits, CountCoresAndNotTheirThreads) {
  RecordedTree root;
  const std::uint32_t all[] = {0, 1, 2, 3, 4, 5, 6, 7};
  const ComputeLimits limits = read_compute_limits(all, four_cores(root).path());
  EXPECT_EQ(limits.best(), 4U);
  EXPECT_EQ(limits.most(), 8U);
}

TEST(ComputeLimits, CountOnlyTheProcessorsOfTheAffinityMask) {
  RecordedTree root;
  four_cores(root);
  const std::uint32_t one[] = {5};
  EXPECT_EQ(read_compute_limits(one, root.path()).best(), 1U);
  EXPECT_EQ(read_compute_limits(one, root.path()).most(), 1U);
  const std::uint32_t one_core[] = {1, 5};
  EXPECT_EQ(read_compute_limits(one_core, root.path()).best(), 1U);
  EXPECT_EQ(read_compute_limits(one_core, root.path()).most(), 2U);
}

TEST(ComputeLimits, CountThePerformanceCoresOfAHybridCpu) {
  RecordedTree root;
  four_cores(root).file("sys/devices/cpu_core/cpus", "0-1,4-5\n");
  const std::uint32_t all[] = {0, 1, 2, 3, 4, 5, 6, 7};
  EXPECT_EQ(read_compute_limits(all, root.path()).best(), 2U);
  EXPECT_EQ(read_compute_limits(all, root.path()).most(), 8U);
  const std::uint32_t slow_ones[] = {2, 3};
  EXPECT_EQ(read_compute_limits(slow_ones, root.path()).best(), 2U);
}

TEST(ComputeLimits, AreTheQuotaWhereThatIsLess) {
  RecordedTree root;
  four_cores(root).file("proc/self/cgroup", "0::/a\n").file("sys/fs/cgroup/a/cpu.max", "100000 100000\n");
  const std::uint32_t all[] = {0, 1, 2, 3, 4, 5, 6, 7};
  EXPECT_EQ(read_compute_limits(all, root.path()).best(), 1U);
  EXPECT_EQ(read_compute_limits(all, root.path()).most(), 1U);
}

TEST(ComputeLimits, AreOneThreadForEachProcessorWhereNothingIsKnown) {
  const std::uint32_t two[] = {0, 1};
  EXPECT_EQ(read_compute_limits(two, RecordedTree().path()).best(), 2U);
  EXPECT_EQ(read_compute_limits({}, RecordedTree().path()).best(), 1U);
}

TEST(ComputeLimits, OfThisMachineAreAtLeastOneThread) {
  EXPECT_GE(read_compute_limits().best(), 1U);
  EXPECT_GE(read_compute_limits().most(), read_compute_limits().best());
}

TEST(ThreadChoice, IsTheUsersUpToWhatCanRunAtOnce) {
  const ComputeLimits limits{.processors = 8, .cores = 4, .quota = {}};
  EXPECT_EQ(choose_threads({}, limits, "-t").threads, 4);
  EXPECT_EQ(choose_threads(8, limits, "-t").threads, 8);
  EXPECT_FALSE(choose_threads(8, limits, "-t").note);
  const ThreadChoice lowered = choose_threads(16, limits, "-t");
  EXPECT_EQ(lowered.threads, 8);
  EXPECT_EQ(lowered.note, "-t 16: 8 threads compute, because this process may use 8 processors");
}

TEST(ThreadChoice, NamesTheQuotaThatLowersIt) {
  const ComputeLimits limits{.processors = 8, .cores = 4, .quota = 1.0};
  const ThreadChoice lowered = choose_threads(2, limits, "-t");
  EXPECT_EQ(lowered.threads, 1);
  ASSERT_TRUE(lowered.note);
  EXPECT_THAT(*lowered.note, HasSubstr("1 thread computes, because this process may use a CPU quota of 1"));
}

}  // namespace
}  // namespace brimful::hardware
