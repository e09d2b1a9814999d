#include "hardware/profile.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <limits>
#include <nlohmann/json.hpp>

namespace brimful::hardware {
namespace {

using ::testing::HasSubstr;

Profile measured_machine() {
  Profile profile;
  profile.name = "this machine";
  profile.measured = "2026-11-27T02:00:00Z";
  profile.cpu = {"Some CPU \"9\"", 8, 16, {"AVX2", "FMA"}};
  profile.ram.total = kGiB * 32;
  profile.ram.available = kGiB * 27;
  profile.ram.swap_total = kGiB * 2;
  profile.ram.swap_used = kMiB * 3;
  profile.ram.cgroup_limit = kGiB * 16;
  profile.ram.kind = "DDR4";
  profile.ram.mega_transfers_per_s = 2133;
  profile.ram.rated_mega_transfers_per_s = 3200;
  profile.ram.modules = 2;
  profile.ram.read_bytes_per_s = 33.3e9;
  profile.ram.touch_bytes_per_s = 4.1e9;
  profile.disk = {"nvme0n1", "NVMe SSD", "ext4", true, {{kKiB * 64, 1.1e9}, {kMiB, 3.3e9}}, 3e9};
  profile.gpus.push_back({"NVIDIA GeForce RTX 3060", kGiB * 12, kGiB * 11, kGiB, 4, 16, "550.54.14", 25e9,
                          360e9, 15.3e12, kMiB * 500});
  profile.gpus[0].copies_beside_reads_bytes_per_s = 14e9;
  profile.gpus[0].reads_beside_copies_bytes_per_s = 36e9;
  profile.gpus.push_back({"bare", kGiB * 8, kGiB * 8, Bytes{}});
  profile.gpu_problem = "one more does not answer";
  profile.compute.threads = 8;
  profile.compute.kernels = {{"q4_K", 30e9, 9e8, 0.1 + 0.2 + 1e9, 28e9, 8e8, 12e9, 0.8, 0.9},
                             {"f16", 31e9, 1e11, 1.5e11, 30e9, 9e10, std::nullopt}};
  profile.compute.attention = {20e9, 1e11, 0.7};
  profile.compute.quantised_attention = {1e10, 2e10, 0.8};
  profile.compute.element_bytes_per_s = 50e9;
  profile.compute.seconds_per_node = 2.5e-6;
  profile.compute.seconds_per_segment = 0;
  profile.compute.share_beside_reads = 0.97;
  return profile;
}

/// Returns the same JSON with one field changed. A null value removes the field.
std::string with(const std::string& pointer, const nlohmann::json& value) {
  nlohmann::json json = nlohmann::json::parse(to_json(measured_machine()));
  const nlohmann::json::json_pointer place(pointer);
  if (value.is_null())
    json[place.parent_pointer()].erase(place.back());
  else
    json[place] = value;
  return json.dump();
}

TEST(Profile, SurvivesJson) {
  const std::string text = to_json(measured_machine());
  const auto parsed = parse_profile(text);
  ASSERT_TRUE(parsed) << parsed.error().message;
  EXPECT_EQ(to_json(*parsed), text);
  EXPECT_EQ(parsed->cpu.model, "Some CPU \"9\"");
  EXPECT_EQ(parsed->cpu.instruction_sets, (std::vector<std::string>{"AVX2", "FMA"}));
  EXPECT_EQ(parsed->ram.cgroup_limit, kGiB * 16);
  EXPECT_EQ(parsed->ram.rated_mega_transfers_per_s, 3200U);
  EXPECT_EQ(parsed->disk.reads[1].size, kMiB);
  EXPECT_EQ(parsed->gpus[0].runtime, kMiB * 500);
  EXPECT_EQ(parsed->gpus[0].copies_beside_reads_bytes_per_s, 14e9);
  EXPECT_EQ(parsed->gpus[0].reads_beside_copies_bytes_per_s, 36e9);
  EXPECT_EQ(parsed->gpus[1].memory_bytes_per_s, std::nullopt);
  EXPECT_EQ(parsed->gpu_problem, "one more does not answer");
  EXPECT_EQ(parsed->compute.kernels[0].prompt_multiplications_per_s, 0.1 + 0.2 + 1e9);
  EXPECT_EQ(parsed->compute.kernels[1].repack_bytes_per_s, std::nullopt);
  EXPECT_EQ(parsed->compute.kernels[0].short_rows_batch, 0.9);
  EXPECT_EQ(parsed->compute.share_beside_reads, 0.97);
}

TEST(Profile, WithoutOptionalFieldsSurvivesToo) {
  Profile profile = measured_machine();
  profile.gpus.clear();
  profile.gpu_problem.reset();
  profile.ram.kind.reset();
  profile.ram.cgroup_limit.reset();
  const auto parsed = parse_profile(to_json(profile));
  ASSERT_TRUE(parsed) << parsed.error().message;
  EXPECT_EQ(parsed->gpu_problem, std::nullopt);
  EXPECT_EQ(parsed->ram.kind, std::nullopt);
  EXPECT_EQ(parsed->ram.cgroup_limit, std::nullopt);
  EXPECT_TRUE(parsed->gpus.empty());
}

TEST(Profile, WritesNamesThatAreNoUtf8) {
  Profile profile = measured_machine();
  profile.gpus[0].name = "RTX\xff";
  EXPECT_TRUE(parse_profile(to_json(profile)));
}

TEST(ParseProfile, NamesTheFieldThatIsWrong) {
  struct Case {
    std::string text;
    std::string message;
  };
  const nlohmann::json gone = nullptr;
  const std::vector<Case> cases{
      {with("/ram", gone), "ram is missing"},
      {with("/ram/total_bytes", gone), "ram.total_bytes is missing"},
      {with("/ram/total_bytes", -5), "ram.total_bytes must be a number of bytes"},
      {with("/ram/total_bytes", 1.5), "ram.total_bytes must be a number of bytes"},
      {with("/ram/total_bytes", 1ULL << 61), "ram.total_bytes must be a number of bytes"},
      {with("/ram/read_bytes_per_s", 0), "ram.read_bytes_per_s must be a rate"},
      {with("/ram/touch_bytes_per_s", -1e9), "ram.touch_bytes_per_s must be a rate"},
      {with("/ram/kind", 4), "ram.kind must be a text"},
      {with("/cpu/cores", 0), "cpu.cores must be a whole number from 1"},
      {with("/cpu/instruction_sets/1", 7), "cpu.instruction_sets must be a list of texts"},
      {with("/disk", "fast"), "disk must be a group of fields"},
      {with("/disk/direct", 1), "disk.direct must be true or false"},
      {with("/disk/reads", nlohmann::json::array()), "disk.reads must not be empty"},
      {with("/disk/reads/0/bytes_per_s", "quick"), "disk.reads[0].bytes_per_s must be a rate"},
      {with("/disk/reads/1/size_bytes", 65536), "disk.reads[1].size_bytes must be larger"},
      {with("/gpus", 5), "gpus must be a list"},
      {with("/gpus/0/free_bytes", 1ULL << 40), "gpus[0].free_bytes must not be more than total_bytes"},
      {with("/gpus/0/memory_bytes_per_s", 0), "gpus[0].memory_bytes_per_s must be a rate"},
      {with("/compute/kernels", nlohmann::json::array()), "compute.kernels must not be empty"},
      {with("/compute/kernels/1/decode_bytes_per_s", 0), "compute.kernels[1].decode_bytes_per_s"},
      {with("/compute/kernels/1/type", "q4_K"), "compute.kernels[1].type is there twice"},
      {with("/compute/kernels/0/repack_bytes_per_s", -1), "compute.kernels[0].repack_bytes_per_s"},
      {with("/compute/share_beside_reads", 1.01), "compute.share_beside_reads must be a share"},
      {with("/compute/seconds_per_node", -1e-6), "compute.seconds_per_node must be a number of seconds"},
      {with("/profile_version", gone), "profile_version is missing"},
      {"[]", "not a hardware profile"},
      {"", "is not valid JSON at byte 1"},
      {"{\"profile_version\": 1, \"name\": 1e999}", "holds a number that is out of range"},
  };
  for (const Case& c : cases) {
    const auto parsed = parse_profile(c.text);
    ASSERT_FALSE(parsed) << c.message;
    EXPECT_EQ(parsed.error().code, ErrorCode::kCorrupt) << c.message;
    EXPECT_THAT(parsed.error().message, HasSubstr(c.message));
  }
}

TEST(ParseProfile, RefusesRatesThatAreNoNumbers) {
  Profile profile = measured_machine();
  profile.compute.element_bytes_per_s = std::numeric_limits<double>::quiet_NaN();
  const auto parsed = parse_profile(to_json(profile));
  ASSERT_FALSE(parsed);
  EXPECT_THAT(parsed.error().message, HasSubstr("compute.element_bytes_per_s must be a rate"));
}

TEST(ParseProfile, KeepsThatOtherProgramsDisturbed) {
  Profile profile = measured_machine();
  EXPECT_EQ(parse_profile(to_json(profile))->disturbed_by, std::nullopt);
  profile.disturbed_by = 1.5;
  EXPECT_EQ(parse_profile(to_json(profile))->disturbed_by, 1.5);
}

TEST(ParseProfile, SaysThatAnotherVersionIsAnother) {
  const auto parsed = parse_profile(with("/profile_version", 1));
  ASSERT_FALSE(parsed);
  EXPECT_EQ(parsed.error().code, ErrorCode::kUnsupported);
}

TEST(DiskRate, LiesBetweenTheMeasuredSizes) {
  Disk disk;
  disk.reads = {{kKiB * 64, 1e9}, {kKiB * 256, 2e9}, {kMiB, 3e9}};
  EXPECT_DOUBLE_EQ(disk.bytes_per_s(kKiB * 64), 1e9);
  EXPECT_DOUBLE_EQ(disk.bytes_per_s(kKiB * 160), 1.5e9);
  EXPECT_DOUBLE_EQ(disk.bytes_per_s(kKiB * 256), 2e9);
  EXPECT_DOUBLE_EQ(disk.bytes_per_s(kKiB * 640), 2.5e9);
  EXPECT_DOUBLE_EQ(disk.bytes_per_s(kMiB), 3e9);
}

TEST(DiskRate, OfSmallReadsFallsAndOfLargeOnesStays) {
  Disk disk;
  disk.reads = {{kKiB * 64, 1e9}, {kMiB, 3e9}};
  EXPECT_DOUBLE_EQ(disk.bytes_per_s(kKiB * 32), 0.5e9);
  EXPECT_GT(disk.bytes_per_s(Bytes{}), 0);
  EXPECT_DOUBLE_EQ(disk.bytes_per_s(kGiB), 3e9);
}

TEST(DiskRate, BestIsOfAnySize) {
  Disk disk;
  disk.reads = {{kKiB * 64, 1e9}, {kMiB, 3e9}, {kMiB * 4, 2.9e9}};
  EXPECT_DOUBLE_EQ(disk.best_bytes_per_s(), 3e9);
  EXPECT_DOUBLE_EQ(Disk{}.best_bytes_per_s(), 0);
}

TEST(ComputeFind, FindsByGgmlsName) {
  const Profile profile = measured_machine();
  ASSERT_NE(profile.compute.find("f16"), nullptr);
  EXPECT_DOUBLE_EQ(profile.compute.find("f16")->decode_bytes_per_s, 31e9);
  EXPECT_EQ(profile.compute.find("q4_k"), nullptr);
}

}  // namespace
}  // namespace brimful::hardware
