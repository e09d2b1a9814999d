#include "hardware/ram.h"

#include <gtest/gtest.h>

#include "hardware/recorded_tree.h"

namespace brimful::hardware {
namespace {

TEST(ReadRam, TakesMemoryAndSwap) {
  testing::RecordedTree root;
  root.file("proc/meminfo",
            "MemTotal: 16384 kB\nMemFree: 1 kB\nMemAvailable: 8192 kB\nSwapCached: 4 kB\nSwapTotal: 4096 kB\n"
            "SwapFree: 1024 kB\n");
  const auto ram = read_ram(root.path());
  ASSERT_TRUE(ram);
  EXPECT_EQ(ram->total, kMiB * 16);
  EXPECT_EQ(ram->available, kMiB * 8);
  EXPECT_EQ(ram->swap_total, kMiB * 4);
  EXPECT_EQ(ram->swap_used, kMiB * 3);
  EXPECT_EQ(ram->cgroup_limit, std::nullopt);
  EXPECT_EQ(ram->kind, std::nullopt);
  EXPECT_EQ(ram->modules, std::nullopt);
}

TEST(ReadRam, WithoutSwapUsesNone) {
  testing::RecordedTree root;
  root.file("proc/meminfo", "MemTotal: 16384 kB\nMemAvailable: 8192 kB\nSwapTotal: 0 kB\nSwapFree: 0 kB\n");
  EXPECT_EQ(read_ram(root.path())->swap_used, Bytes{});
  root.file("proc/meminfo", "MemTotal: 16384 kB\nMemAvailable: 8192 kB\n");
  EXPECT_EQ(read_ram(root.path())->swap_total, Bytes{});
}

TEST(ReadRam, KnowsTheTightestCgroup) {
  testing::RecordedTree root;
  root.file("proc/meminfo", "MemTotal: 16384 kB\nMemAvailable: 8192 kB\n")
      .file("proc/self/cgroup", "0::/a/b\n");
  for (const auto& [path, limit] : {std::pair{"a/b", "8388608\n"}, std::pair{"a", "4194304\n"}}) {
    const std::string dir = std::string("sys/fs/cgroup/") + path;
    root.file(dir + "/memory.max", limit)
        .file(dir + "/memory.current", "1\n")
        .file(dir + "/memory.stat", "file 0\n");
  }
  EXPECT_EQ(read_ram(root.path())->cgroup_limit, kMiB * 4);
}

TEST(ReadRam, OfThisMachineHasSome) {
  const auto ram = read_ram();
  ASSERT_TRUE(ram);
  EXPECT_GT(ram->total, kMiB * 64);
  EXPECT_LE(ram->swap_used, ram->swap_total);
}

TEST(ReadRam, FailsWithoutProc) {
  const auto ram = read_ram(testing::RecordedTree().path());
  ASSERT_FALSE(ram);
  EXPECT_EQ(ram.error().code, ErrorCode::kIo);
}

}  // namespace
}  // namespace brimful::hardware
