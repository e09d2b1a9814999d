#include "hardware/memory_peak.h"

#include <gtest/gtest.h>
#include <sys/mman.h>

#include <cstring>

namespace brimful::hardware {
namespace {

void take_and_give_back(Bytes bytes) {
  void* const memory =
      ::mmap(nullptr, bytes.value, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  ASSERT_NE(memory, MAP_FAILED);
  std::memset(memory, 1, bytes.value);
  ::munmap(memory, bytes.value);
}

TEST(MemoryPeak, IsOfItsBudgetAlone) {
  MemoryPeak peak{Bytes{}};  // No cgroup is so small, so the process's own account counts.
  take_and_give_back(kMiB * 64);
  const auto first = peak.peak();
  ASSERT_TRUE(first);
  const BudgetPeak ended = peak.begin(Bytes{1});
  EXPECT_EQ(ended.budget, Bytes{});
  EXPECT_GE(ended.peak, first);
  EXPECT_LT(*ended.peak, *first + kMiB) << "the kernel brings its count up to date a little later";
  const auto second = peak.peak();
  ASSERT_TRUE(second);
  EXPECT_LT(*second, *first - kMiB * 32);
}

TEST(MemoryPeak, GoesOnWithTheOneBeforeWhereAChangeFailed) {
  MemoryPeak peak{Bytes{}};
  take_and_give_back(kMiB * 64);
  const BudgetPeak ended = peak.begin(Bytes{1});
  peak.begin(Bytes{}, ended.peak);
  EXPECT_EQ(peak.peak(), ended.peak);
}

}  // namespace
}  // namespace brimful::hardware
