#include "hardware/activity.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include "hardware/recorded_tree.h"

namespace brimful::hardware {
namespace {

using testing::RecordedTree;

TEST(Activity, ReadsWhatTheKernelShows) {
  RecordedTree tree;
  tree.file("proc/77/status", "Name:\tbrimful\nVmRSS:\t  2048 kB\nVmSwap:\t     512 kB\n");
  tree.file("proc/vmstat", "pgpgin 9\npswpin 3\npswpout 5\n");
  const auto use = read_process_use(77, tree.path());
  ASSERT_TRUE(use);
  EXPECT_EQ(use->resident, kMiB * 2);
  EXPECT_EQ(use->swapped, Bytes{512 * 1024});
  const auto swap = read_swap_traffic(tree.path());
  ASSERT_TRUE(swap);
  const auto page = static_cast<std::uint64_t>(::sysconf(_SC_PAGESIZE));
  EXPECT_EQ(swap->in, Bytes{3 * page});
  EXPECT_EQ(swap->out, Bytes{5 * page});
}

TEST(Activity, IsNothingWhereThereIsNothing) {
  const RecordedTree tree;
  EXPECT_FALSE(read_process_use(77, tree.path()));
  EXPECT_FALSE(read_swap_traffic(tree.path()));
}

TEST(Activity, ReadsThisProcess) {
  const auto use = read_process_use(::getpid());
  ASSERT_TRUE(use);
  EXPECT_GT(use->resident, kMiB);
}

}  // namespace
}  // namespace brimful::hardware
