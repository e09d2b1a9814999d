#include "hardware/cpu.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "hardware/recorded_tree.h"

namespace brimful::hardware {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;
using testing::RecordedTree;

std::string x86_thread(int number, const std::string& model, int package, int core,
                       const std::string& flags) {
  return "processor\t: " + std::to_string(number) +
         "\nvendor_id\t: GenuineIntel\ncpu family\t: 6\nmodel name\t: " + model +
         "\nphysical id\t: " + std::to_string(package) +
         "\nsiblings\t: 8\ncore id\t\t: " + std::to_string(core) + "\ncpu cores\t: 4\nflags\t\t: fpu vme " +
         flags + "\nbugs\t\t: avx512f\n\n";
}

std::string laptop() {
  std::string text;
  for (int thread = 0; thread < 8; ++thread)
    text += x86_thread(thread, "Intel(R) Core(TM) i5-8250U CPU @ 1.60GHz", 0, thread % 4,
                       "sse4_1 sse4_2 avx f16c fma avx2 bmi2");
  return text;
}

TEST(ParseCpuinfo, OfALaptopWithTwoThreadsACore) {
  const Cpu cpu = parse_cpuinfo(laptop());
  EXPECT_EQ(cpu.model, "Intel(R) Core(TM) i5-8250U CPU @ 1.60GHz");
  EXPECT_EQ(cpu.cores, 4U);
  EXPECT_EQ(cpu.threads, 8U);
  EXPECT_THAT(cpu.instruction_sets, ElementsAre("SSE4.2", "AVX", "AVX2", "FMA", "F16C"));
}

TEST(ParseCpuinfo, OfPerformanceAndEfficiencyCores) {
  std::string text;
  int thread = 0;
  for (const int core : {0, 0, 4, 4, 8, 8, 12, 12, 16, 16, 20, 20, 24, 25, 26, 27, 28, 29, 30, 31})
    text +=
        x86_thread(thread++, "12th Gen Intel(R) Core(TM) i7-12700H", 0, core, "sse4_2 avx fma avx2 avx_vnni");
  const Cpu cpu = parse_cpuinfo(text);
  EXPECT_EQ(cpu.cores, 14U);
  EXPECT_EQ(cpu.threads, 20U);
  EXPECT_THAT(cpu.instruction_sets, ElementsAre("SSE4.2", "AVX", "AVX2", "FMA", "AVX_VNNI"));
}

TEST(ParseCpuinfo, OfTwoPackagesWithTheSameCoreNumbers) {
  std::string text;
  for (int thread = 0; thread < 4; ++thread)
    text += x86_thread(thread, "Intel(R) Xeon(R) Platinum 8480+", thread / 2, thread % 2,
                       "avx2 avx512f avx512_vnni avx512_bf16 amx_int8 amx_tile");
  const Cpu cpu = parse_cpuinfo(text);
  EXPECT_EQ(cpu.cores, 4U);
  EXPECT_THAT(cpu.instruction_sets, ElementsAre("AVX2", "AVX512F", "AVX512_VNNI", "AVX512_BF16", "AMX_INT8"));
}

TEST(ParseCpuinfo, OfAVirtualMachineWithoutIds) {
  const Cpu cpu = parse_cpuinfo(
      "processor\t: 0\nmodel name\t: QEMU Virtual CPU version 2.5+\nflags\t\t: fpu sse2\n\n"
      "processor\t: 1\nmodel name\t: QEMU Virtual CPU version 2.5+\nflags\t\t: fpu sse2\n\n");
  EXPECT_EQ(cpu.model, "QEMU Virtual CPU version 2.5+");
  EXPECT_EQ(cpu.cores, 2U);
  EXPECT_EQ(cpu.threads, 2U);
  EXPECT_THAT(cpu.instruction_sets, IsEmpty());
}

TEST(ParseCpuinfo, OfAnArmBoard) {
  std::string text;
  for (int core = 0; core < 4; ++core)
    text +=
        "processor\t: " + std::to_string(core) +
        "\nBogoMIPS\t: 108.00\nFeatures\t: fp asimd evtstrm aes crc32 atomics fphp asimdhp cpuid asimdrdm "
        "asimddp\nCPU implementer\t: 0x41\nCPU architecture: 8\nCPU variant\t: 0x4\nCPU part\t: 0xd0b\n\n";
  const Cpu bare = parse_cpuinfo(text);
  EXPECT_EQ(bare.model, "ARM Cortex-A76");
  EXPECT_EQ(bare.cores, 4U);
  EXPECT_EQ(bare.threads, 4U);
  EXPECT_THAT(bare.instruction_sets, ElementsAre("NEON", "FP16_VA", "DOTPROD"));

  const Cpu board = parse_cpuinfo(text + "Revision\t: d04170\nModel\t\t: Raspberry Pi 5 Model B Rev 1.0\n");
  EXPECT_EQ(board.model, "Raspberry Pi 5 Model B Rev 1.0 (ARM Cortex-A76)");
}

TEST(ParseCpuinfo, OfAnArmPhoneNamesItsLargeCores) {
  const Cpu cpu = parse_cpuinfo(
      "processor : 0\nFeatures : asimd\nCPU implementer : 0x41\nCPU part : 0xd05\n\n"
      "processor : 1\nFeatures : asimd\nCPU implementer : 0x41\nCPU part : 0xd44\n\n");
  EXPECT_EQ(cpu.model, "ARM Cortex-X1");
}

TEST(ParseCpuinfo, OfNothingIsOneUnknownCore) {
  for (const std::string_view text : {"", "\n\n", "no colon\n", ":\n"}) {
    const Cpu cpu = parse_cpuinfo(text);
    EXPECT_EQ(cpu.model, "");
    EXPECT_EQ(cpu.cores, 1U);
    EXPECT_EQ(cpu.threads, 1U);
    EXPECT_THAT(cpu.instruction_sets, IsEmpty());
  }
}

TEST(CpuQuota, IsReadFromBothVersions) {
  EXPECT_EQ(parse_cpu_max("max 100000\n"), std::nullopt);
  EXPECT_EQ(parse_cpu_max("150000 100000\n"), 1.5);
  EXPECT_EQ(parse_cpu_max("400000 100000"), 4.0);
  EXPECT_EQ(parse_cpu_max(""), std::nullopt);
  EXPECT_EQ(parse_cpu_max("400000"), std::nullopt);
  EXPECT_EQ(parse_cpu_max("400000 0"), std::nullopt);
  EXPECT_EQ(parse_cfs_quota("-1\n", "100000\n"), std::nullopt);
  EXPECT_EQ(parse_cfs_quota("250000\n", "100000\n"), 2.5);
}

TEST(CpuQuota, LimitsThreads) {
  EXPECT_EQ(usable_threads(8, std::nullopt), 8U);
  EXPECT_EQ(usable_threads(8, 2.5), 3U);
  EXPECT_EQ(usable_threads(8, 2.2), 2U);
  EXPECT_EQ(usable_threads(8, 1.0), 1U);
  EXPECT_EQ(usable_threads(8, 0.5), 1U);
  EXPECT_EQ(usable_threads(2, 1e30), 2U);
}

TEST(CpuQuota, IsTheTightestAboveThisProcess) {
  RecordedTree v2;
  v2.file("proc/self/cgroup", "0::/a.slice/b.service\n");
  v2.file("sys/fs/cgroup/a.slice/b.service/cpu.max", "400000 100000\n");
  v2.file("sys/fs/cgroup/a.slice/cpu.max", "300000 100000\n");
  EXPECT_EQ(read_cpu_quota(v2.path()), 3.0);

  RecordedTree v1;
  v1.file("proc/self/cgroup", "4:memory:/m\n3:cpu,cpuacct:/docker/123\n0::/\n");
  v1.file("sys/fs/cgroup/cpu/cpu.cfs_quota_us", "200000\n")
      .file("sys/fs/cgroup/cpu/cpu.cfs_period_us", "100000\n");
  EXPECT_EQ(read_cpu_quota(v1.path()), 2.0);

  EXPECT_EQ(read_cpu_quota(RecordedTree().path()), std::nullopt);
}

TEST(CpuQuota, CountsHowOftenItStoppedTheProcess) {
  RecordedTree v2;
  v2.file("proc/self/cgroup", "0::/a/b\n");
  v2.file("sys/fs/cgroup/a/cpu.stat", "usage_usec 7\nnr_periods 9\nnr_throttled 3\nthrottled_usec 1\n");
  v2.file("sys/fs/cgroup/a/b/cpu.stat", "usage_usec 7\nnr_throttled 2\n");
  EXPECT_EQ(read_times_throttled(v2.path()), 5U);
  EXPECT_EQ(read_times_throttled(RecordedTree().path()), 0U);
}

TEST(IdleTicks, AreCountedOfTheProcessorsThatMayBeUsed) {
  constexpr std::string_view kStat =
      "cpu  100 0 100 3000 30 0 0 0 0 0\ncpu0 10 0 10 1000 10 0 0 0 0 0\ncpu1 90 0 90 2000 20 0 0 0 0 0\n"
      "intr 5 4\ncpu2 1 1 1 1 1\n";
  const std::uint32_t both[] = {0, 1}, second[] = {1}, missing[] = {1, 2};
  EXPECT_EQ(parse_idle_ticks(kStat, both), 3030U);
  EXPECT_EQ(parse_idle_ticks(kStat, second), 2020U);
  EXPECT_EQ(parse_idle_ticks(kStat, missing), std::nullopt);
  EXPECT_EQ(parse_idle_ticks("", {}), std::nullopt);
}

TEST(ReadCpu, TakesNoMoreThreadsThanAllowed) {
  RecordedTree root;
  root.file("proc/cpuinfo", laptop());
  root.file("proc/self/cgroup", "0::/\n").file("sys/fs/cgroup/cpu.max", "100000 100000\n");
  const Cpu cpu = read_cpu(root.path());
  EXPECT_EQ(cpu.cores, 4U);
  EXPECT_EQ(cpu.threads, 1U);
}

TEST(ReadCpu, KnowsThisMachine) {
  const Cpu cpu = read_cpu();
  EXPECT_GE(cpu.threads, 1U);
  EXPECT_GE(cpu.cores, 1U);
}

}  // namespace
}  // namespace brimful::hardware
