#include "hardware/host_memory.h"

#include <gtest/gtest.h>
#include <sys/mman.h>

#include <cstring>

#include "hardware/recorded_tree.h"

namespace brimful::hardware {
namespace {

constexpr std::string_view kMeminfo =
    "MemTotal:       24684084 kB\nMemFree:        19882552 kB\nMemAvailable:   20971520 kB\n"
    "Buffers:            8652 kB\nCached:          1234567 kB\n";

constexpr std::string_view kStatus =
    "Name:\tbrimful\nUmask:\t0022\nVmPeak:\t  999999 kB\nVmSize:\t  999998 kB\nVmHWM:\t   30000 kB\n"
    "VmRSS:\t   20000 kB\nRssAnon:\t   12000 kB\nVmPTE:\t     400 kB\nThreads:\t3\n";

constexpr std::string_view kStatV1 =
    "cache 4096\nrss 1000\nmapped_file 7655424\nhierarchical_memory_limit 1073741824\ntotal_cache 104857600\n"
    "total_rss 494399488\n";

constexpr std::string_view kStatV2 =
    "anon 1000\nfile_mapped 5\nfile_dirty 6\nfile 83886080\nkernel 400\nslab 12\n";

class Root : public testing::RecordedTree {
 public:
  Root& file(const std::string& name, std::string_view text) {
    RecordedTree::file(name, text);
    return *this;
  }
  Root& cgroup_v1(const std::string& name, std::string_view limit, std::string_view usage) {
    file(name + "/memory.limit_in_bytes", limit).file(name + "/memory.usage_in_bytes", usage);
    return file(name + "/memory.stat", kStatV1);
  }
  Root& cgroup_v2(const std::string& name, std::string_view limit, std::string_view usage) {
    file(name + "/memory.max", limit).file(name + "/memory.current", usage);
    return file(name + "/memory.stat", kStatV2);
  }
};

TEST(ParseCgroupPath, FindsTheMemoryController) {
  const auto v1 = parse_cgroup_path("9:name=systemd:/\n4:memory:/a/b\n3:cpuset:/\n0::/unified\n");
  ASSERT_TRUE(v1);
  EXPECT_FALSE(v1->v2);
  EXPECT_EQ(v1->path, "/a/b");

  const auto joint = parse_cgroup_path("5:cpu,memory,cpuacct:/x\n");
  ASSERT_TRUE(joint);
  EXPECT_EQ(joint->path, "/x");

  const auto v2 = parse_cgroup_path("0::/user.slice/user-0.slice\n");
  ASSERT_TRUE(v2);
  EXPECT_TRUE(v2->v2);
  EXPECT_EQ(v2->path, "/user.slice/user-0.slice");

  const auto colon = parse_cgroup_path("0::/odd:name\n");
  ASSERT_TRUE(colon);
  EXPECT_EQ(colon->path, "/odd:name");
}

TEST(ParseCgroupPath, IsNothingWithoutOne) {
  EXPECT_FALSE(parse_cgroup_path(""));
  EXPECT_FALSE(parse_cgroup_path("3:cpuset:/\n9:name=memory:/\n"));
  EXPECT_FALSE(parse_cgroup_path("no colons\n:\n"));
}

TEST(ParseField, ScalesKilobytesAndLeavesBytes) {
  EXPECT_EQ(parse_field(kMeminfo, "MemTotal"), Bytes{24684084ULL * 1024});
  EXPECT_EQ(parse_field(kMeminfo, "MemAvailable"), kMiB * 20480);
  EXPECT_EQ(parse_field(kStatus, "VmRSS"), kKiB * 20000);
  EXPECT_EQ(parse_field(kStatus, "Threads"), Bytes{3});
  EXPECT_EQ(parse_field(kStatV1, "total_cache"), kMiB * 100);
}

TEST(ParseField, TakesTheWholeKeyOnly) {
  EXPECT_EQ(parse_field(kStatV2, "file"), kMiB * 80);  // The key is not file_mapped.
  EXPECT_EQ(parse_field(kStatV1, "cache"), Bytes{4096});
  EXPECT_EQ(parse_field(kMeminfo, "Mem"), std::nullopt);
  EXPECT_EQ(parse_field(kMeminfo, "SwapTotal"), std::nullopt);
  EXPECT_EQ(parse_field("VmRSS:\t  unknown\n", "VmRSS"), std::nullopt);
  EXPECT_EQ(parse_field("", "VmRSS"), std::nullopt);
  EXPECT_EQ(parse_field("VmRSS", "VmRSS"), std::nullopt);
}

TEST(ParseLimit, KnowsTheWaysToSayNone) {
  EXPECT_EQ(parse_limit("1073741824\n"), kGiB);
  EXPECT_EQ(parse_limit("0\n"), Bytes{0});
  EXPECT_EQ(parse_limit("max\n"), std::nullopt);
  EXPECT_EQ(parse_limit("9223372036854771712\n"), std::nullopt);
  EXPECT_EQ(parse_limit(""), std::nullopt);
}

TEST(ReadHostMemory, WithoutCgroupsIsTheMachine) {
  Root root;
  root.file("proc/meminfo", kMeminfo);
  const auto memory = read_host_memory(root.path());
  ASSERT_TRUE(memory);
  EXPECT_EQ(memory->total, Bytes{24684084ULL * 1024});
  EXPECT_EQ(memory->available, kMiB * 20480);
  EXPECT_TRUE(memory->cgroups.empty());
}

TEST(ReadHostMemory, ListsV1CgroupsInnermostFirst) {
  Root root;
  root.file("proc/meminfo", kMeminfo).file("proc/self/cgroup", "4:memory:/outer/inner\n0::/\n");
  root.cgroup_v1("sys/fs/cgroup/memory/outer/inner", "1073741824\n", "536870912\n");
  root.file("sys/fs/cgroup/memory/outer/inner/memory.max_usage_in_bytes", "805306368\n");
  root.cgroup_v1("sys/fs/cgroup/memory/outer", "2147483648\n", "1610612736\n");
  root.cgroup_v1("sys/fs/cgroup/memory", "9223372036854771712\n", "4294967296\n");
  const auto memory = read_host_memory(root.path());
  ASSERT_TRUE(memory);
  ASSERT_EQ(memory->cgroups.size(), 2U);  // The outermost cgroup has no limit.
  EXPECT_EQ(memory->cgroups[0].limit, kGiB);
  EXPECT_EQ(memory->cgroups[0].usage, kMiB * 512);
  EXPECT_EQ(memory->cgroups[0].cache, kMiB * 100);
  EXPECT_EQ(memory->cgroups[0].peak, kMiB * 768);
  EXPECT_EQ(memory->cgroups[0].name, "/outer/inner");
  EXPECT_EQ(memory->cgroups[1].limit, kGiB * 2);
  EXPECT_EQ(memory->cgroups[1].peak, std::nullopt);
}

TEST(ReadHostMemory, ReadsV2Cgroups) {
  Root root;
  root.file("proc/meminfo", kMeminfo).file("proc/self/cgroup", "0::/a.slice/b.service\n");
  root.cgroup_v2("sys/fs/cgroup/a.slice/b.service", "max\n", "1000\n");
  root.cgroup_v2("sys/fs/cgroup/a.slice", "2147483648\n", "209715200\n");
  const auto memory = read_host_memory(root.path());
  ASSERT_TRUE(memory);
  ASSERT_EQ(memory->cgroups.size(), 1U);
  EXPECT_EQ(memory->cgroups[0].limit, kGiB * 2);
  EXPECT_EQ(memory->cgroups[0].usage, kMiB * 200);
  EXPECT_EQ(memory->cgroups[0].cache, kMiB * 80);
}

TEST(ReadHostMemory, InAContainerFindsTheMountItself) {
  Root root;
  root.file("proc/meminfo", kMeminfo).file("proc/self/cgroup", "4:memory:/docker/0123456789\n");
  root.cgroup_v1("sys/fs/cgroup/memory", "1073741824\n", "5\n");
  const auto memory = read_host_memory(root.path());
  ASSERT_TRUE(memory);
  ASSERT_EQ(memory->cgroups.size(), 1U);
  EXPECT_EQ(memory->cgroups[0].limit, kGiB);
}

TEST(ReadHostMemory, FailsWithWhatToDoWhenProcIsMissing) {
  const Root root;
  const auto memory = read_host_memory(root.path());
  ASSERT_FALSE(memory);
  EXPECT_EQ(memory.error().code, ErrorCode::kIo);
  EXPECT_NE(memory.error().message.find("mount /proc"), std::string::npos);
}

TEST(ReadProcessMemory, TakesStatusAndTheFilesMapped) {
  Root root;
  root.file("lib.so", std::string(12345, 'x'));
  const std::string lib = (root.path() / "lib.so").string();
  root.file("proc/self/status", kStatus);
  root.file("proc/self/maps",
            "55a0-55b0 r--p 00000000 fe:00 11   " + lib + "\n55b0-55c0 r-xp 00001000 fe:00 11   " + lib +
                "\n7fff-8000 rw-p 00000000 00:00 0   [heap]\n8000-9000 rw-p 00000000 00:00 0\n");
  const auto process = read_process_memory(root.path());
  ASSERT_TRUE(process);
  EXPECT_EQ(process->resident, kKiB * 20000);
  EXPECT_EQ(process->anonymous, kKiB * 12000);
  EXPECT_EQ(process->peak, kKiB * 30000);
  EXPECT_EQ(process->page_tables, kKiB * 400);
  EXPECT_EQ(process->threads, 3U);
  EXPECT_EQ(process->mapped_files, Bytes{12345});  // A file counts once, however many times it is mapped.
  EXPECT_FALSE(read_process_memory(root.path() / "proc"));
}

TEST(ReadProcessMemory, SeesWhatThisProcessTakes) {
  constexpr std::size_t kSize = 32 << 20;
  const auto before = read_process_memory();
  ASSERT_TRUE(before);
  void* const memory = ::mmap(nullptr, kSize, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  ASSERT_NE(memory, MAP_FAILED);
  std::memset(memory, 1, kSize);
  const auto during = read_process_memory();
  ::munmap(memory, kSize);
  const auto after = read_process_memory();
  ASSERT_TRUE(during && after);
  EXPECT_GE(held_bytes(*during).value, held_bytes(*before).value + kSize - (1U << 20));
  EXPECT_LT(held_bytes(*after).value, held_bytes(*during).value - kSize / 2);
  EXPECT_GE(after->peak, during->resident - kMiB);
}

CgroupMemory cgroup(Bytes limit, Bytes usage, Bytes cache) {
  return {"/x", limit, usage, cache, std::nullopt, "/x"};
}

ProcessMemory process_of(Bytes resident, Bytes mapped_files) {
  ProcessMemory process;
  process.resident = process.peak = resident;
  process.mapped_files = mapped_files;
  process.threads = 1;
  return process;
}

TEST(HeldBytes, CountsPagesTablesAndThreads) {
  ProcessMemory process = process_of(kMiB * 10, Bytes{});
  const Bytes one_thread = held_bytes(process);
  EXPECT_GE(one_thread, kMiB * 10);
  process.page_tables = kKiB * 40;
  EXPECT_EQ(held_bytes(process) - one_thread, kKiB * 40);
  process.threads = 3;
  EXPECT_GT(held_bytes(process) - one_thread, kKiB * 40 + kKiB * 16 * 2);
}

TEST(Room, IsTheBudgetLessWhatIsHeld) {
  const ProcessMemory process = process_of(kMiB * 100, kMiB * 20);
  const Bytes held = held_bytes(process);
  EXPECT_EQ(room(kGiB, {kGiB * 32, kGiB * 20, {}}, process), kGiB - held);
  EXPECT_EQ(room(kMiB * 50, {kGiB * 32, kGiB * 20, {}}, process), Bytes{});
}

TEST(Room, IsNeverMoreThanAWiderCgroupHas) {
  const ProcessMemory process = process_of(kMiB * 100, kMiB * 20);
  // 300 MiB are charged, of which 180 are cache; up to 20 of these may be the program's own pages.
  const HostMemory host{kGiB * 32, kGiB * 20, {cgroup(kMiB * 500, kMiB * 300, kMiB * 180)}};
  EXPECT_EQ(room(kMiB * 490, host, process), std::min(kMiB * 360, kMiB * 490 - held_bytes(process)));
  EXPECT_EQ(room(kMiB * 120, host, process), kMiB * 120 - held_bytes(process));
  const HostMemory full{kGiB * 32, kGiB * 20, {cgroup(kMiB * 500, kMiB * 600, kMiB * 10)}};
  EXPECT_EQ(room(kMiB * 490, full, process), Bytes{});
}

TEST(Room, FollowsTheAccountOfACgroupOfItsSize) {
  // Libraries that other programs loaded first are charged to those programs: here 80 MiB are charged, and
  // the process itself sees 100.
  const ProcessMemory process = process_of(kMiB * 100, kMiB * 20);
  const HostMemory host{kGiB * 32, kGiB * 20, {cgroup(kMiB * 500, kMiB * 80, Bytes{})}};
  EXPECT_EQ(room(kMiB * 500, host, process), kMiB * 420);
  EXPECT_EQ(room(kGiB * 4, host, process), kMiB * 420);
  const HostMemory little_cache{kGiB * 32, kGiB * 20, {cgroup(kMiB * 500, kMiB * 300, kMiB * 8)}};
  EXPECT_EQ(room(kMiB * 500, little_cache, process), kMiB * 200);
  const HostMemory full{kGiB * 32, kGiB * 20, {cgroup(kMiB * 500, kMiB * 600, kMiB * 10)}};
  EXPECT_EQ(room(kMiB * 500, full, process), Bytes{});
}

}  // namespace
}  // namespace brimful::hardware
