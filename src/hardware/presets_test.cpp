#include "hardware/presets.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <set>

#include "hardware/catalogue.h"
#include "hardware/preset_texts.h"
#include "hardware/recorded_tree.h"
#include "hardware/toml_text.h"

namespace brimful::hardware {
namespace {

using ::testing::AllOf;
using ::testing::Contains;
using ::testing::HasSubstr;
using ::testing::IsSupersetOf;

constexpr std::string_view kExample = "rtx-3060-12gb, 64gb-ddr4-3600, nvme-gen3, 8c16t";

Profile machine(std::string_view spec) {
  auto profile = machine_like(spec);
  EXPECT_TRUE(profile) << spec << ": " << profile.error().message;
  return profile ? *std::move(profile) : Profile{};
}

std::string refusal(std::string_view spec) {
  const auto profile = machine_like(spec);
  EXPECT_FALSE(profile) << spec;
  if (profile) return {};
  EXPECT_EQ(profile.error().code, ErrorCode::kInvalidArgument);
  return profile.error().message;
}

TEST(MachineLike, IsWhatItsNamesSay) {
  const Profile profile = machine(kExample);
  EXPECT_EQ(profile.name, kExample);
  EXPECT_EQ(profile.measured, "");
  EXPECT_EQ(profile.cpu.cores, 8U);
  EXPECT_EQ(profile.cpu.threads, 16U);
  EXPECT_THAT(profile.cpu.instruction_sets, Contains("AVX2"));
  EXPECT_GT(profile.ram.total, kGiB * 60);
  EXPECT_LE(profile.ram.total, kGiB * 64);
  EXPECT_LT(profile.ram.available, profile.ram.total);
  EXPECT_EQ(profile.ram.kind, "DDR4");
  EXPECT_EQ(profile.ram.mega_transfers_per_s, 3600U);
  EXPECT_DOUBLE_EQ(profile.ram.read_bytes_per_s, 57.6e9 * 0.8);
  EXPECT_EQ(profile.disk.kind, "NVMe SSD");
  EXPECT_DOUBLE_EQ(profile.disk.best_bytes_per_s(), 3.5e9);
  EXPECT_DOUBLE_EQ(profile.disk.beside_compute_bytes_per_s, 3.5e9 * 0.95);
  ASSERT_EQ(profile.gpus.size(), 1U);
  const Gpu& gpu = profile.gpus[0];
  EXPECT_EQ(gpu.name, "NVIDIA GeForce RTX 3060");
  EXPECT_EQ(gpu.total, kGiB * 12);
  EXPECT_EQ(gpu.free, kGiB * 12);
  EXPECT_EQ(gpu.runtime, kMiB * 500);
  EXPECT_EQ(gpu.pcie_generation, 4U);
  EXPECT_EQ(gpu.pcie_width, 16U);
  EXPECT_DOUBLE_EQ(*gpu.memory_bytes_per_s, 360e9);
  EXPECT_NEAR(*gpu.host_to_device_bytes_per_s, 25.2e9, 0.1e9);
  EXPECT_NEAR(*gpu.multiplications_per_s, 11.2e12, 0.1e12);
}

TEST(MachineLike, TakesNamesInAnyOrderAndCase) {
  const Profile profile = machine("  8C16T,nvme-GEN3 ,64gb-ddr4-3600,, RTX-3060-12gb,");
  Profile example = machine(kExample);
  example.name = profile.name;
  EXPECT_EQ(to_json(profile), to_json(example));
}

TEST(MachineLike, TakesAnyNumberOfGpus) {
  EXPECT_TRUE(machine("16gb-ddr4-3200, sata-ssd").gpus.empty());
  EXPECT_EQ(machine("rtx-3090-24gb, rtx-3090-24gb, gtx-1080-8gb, 16gb-ddr4-3200, sata-ssd").gpus.size(), 3U);
}

TEST(MachineLike, WithoutACpuHasTheUsualOne) {
  const Profile profile = machine("16gb-ddr4-3200, sata-ssd");
  EXPECT_EQ(profile.cpu.cores, 8U);
  EXPECT_EQ(profile.name, "16gb-ddr4-3200, sata-ssd, 8c16t");
}

TEST(MachineLike, TakesCpusOfAnySize) {
  const auto cpu = [](std::string_view name) {
    const Cpu found = machine("16gb-ddr4-3200, sata-ssd, " + std::string(name)).cpu;
    return std::pair(found.cores, found.threads);
  };
  EXPECT_EQ(cpu("16-threads"), std::pair(8U, 16U));
  EXPECT_EQ(cpu("1-threads"), std::pair(1U, 1U));
  EXPECT_EQ(cpu("6c6t"), std::pair(6U, 6U));
  EXPECT_EQ(cpu("14c20t"), std::pair(14U, 20U));
}

TEST(MachineLike, ComputesNoFasterThanItsMemoryReads) {
  const Profile narrow = machine("16gb-ddr4-2666, sata-ssd, 16c32t");
  const Profile wide = machine("16gb-ddr5-6000, sata-ssd, 4c8t");
  EXPECT_DOUBLE_EQ(narrow.compute.find("q4_K")->decode_bytes_per_s, narrow.ram.read_bytes_per_s);
  EXPECT_LT(wide.compute.find("q4_K")->decode_bytes_per_s, wide.ram.read_bytes_per_s);
  EXPECT_DOUBLE_EQ(narrow.compute.find("q4_K")->prompt_multiplications_per_s,
                   4 * wide.compute.find("q4_K")->prompt_multiplications_per_s);
}

TEST(MachineLike, HasCpusThatAreListed) {
  const Profile x3d = machine("64gb-ddr5-6000, nvme-gen4, Ryzen-7-7800X3D");
  EXPECT_EQ(x3d.cpu.model, "AMD Ryzen 7 7800X3D");
  EXPECT_EQ(x3d.cpu.threads, 16U);
  EXPECT_EQ(x3d.compute.threads, 8);
  EXPECT_DOUBLE_EQ(x3d.ram.read_bytes_per_s, 64e9 * 0.95) << "its fabric is slower than that memory";
  EXPECT_DOUBLE_EQ(machine("64gb-ddr5-4800, nvme-gen4, i9-14900k").ram.read_bytes_per_s, 76.8e9 * 0.8);
  EXPECT_THAT(refusal("64gb-ddr5-6000, nvme-gen4, 7800x3d"), HasSubstr("are ryzen-7-7800x3d,"));
}

TEST(MachineLike, ReadsExpertsSlowerThanWholeMatrices) {
  const Compute compute = machine("64gb-ddr4-3200, nvme-gen4, 8c16t").compute;
  const KernelRate* const rate = compute.find("mxfp4");
  ASSERT_NE(rate, nullptr);
  // Reading 9 MB at 41 GB/s takes 220 us, and 20 us are added to that.
  EXPECT_NEAR(rate->expert_decode_bytes_per_s / rate->decode_bytes_per_s, 220.0 / 240, 0.01);
}

TEST(MachineLike, SurvivesJson) {
  const Profile profile = machine(kExample);
  const auto again = parse_profile(to_json(profile));
  ASSERT_TRUE(again) << again.error().message;
  EXPECT_EQ(to_json(*again), to_json(profile));
}

TEST(MachineLike, SaysWhatIsMissing) {
  EXPECT_THAT(refusal("rtx-3060-12gb, nvme-gen3"),
              AllOf(HasSubstr("no memory"), HasSubstr("64gb-ddr4-3600")));
  EXPECT_THAT(refusal("64gb-ddr4-3600"),
              AllOf(HasSubstr("no disk"), HasSubstr("nvme-gen4"), HasSubstr("hard-disk")));
  EXPECT_THAT(refusal(""), HasSubstr("no memory"));
}

TEST(MachineLike, NamesWhatIsNearAnUnknownName) {
  EXPECT_THAT(refusal("rtx-3060"), AllOf(HasSubstr("'rtx-3060'"), HasSubstr("are rtx-3060-12gb,")));
  EXPECT_THAT(refusal("4090"), HasSubstr("are rtx-4090-24gb,"));
  EXPECT_THAT(refusal("rtx-5080-32gb"), HasSubstr("rtx-5080-16gb"));
  EXPECT_THAT(refusal("nvme-gen33"), HasSubstr("nvme-gen3"));
  EXPECT_THAT(refusal("8c17t"), HasSubstr("8c16t"));
  EXPECT_THAT(refusal(std::string(100000, 'x')), HasSubstr("similar names are"));
}

TEST(MachineLike, RefusesTwoOfWhatIsOne) {
  EXPECT_THAT(refusal("nvme-gen3, sata-ssd, 64gb-ddr4-3600"), HasSubstr("'sata-ssd' is a second disk"));
  EXPECT_THAT(refusal("nvme-gen3, 16gb-ddr4-3200, 64gb-ddr4-3600"), HasSubstr("second memory"));
  EXPECT_THAT(refusal("nvme-gen3, 16gb-ddr4-3200, 8c16t, 4c8t"), HasSubstr("second CPU"));
}

TEST(MachineLike, RefusesMemoryThatIsNotMade) {
  EXPECT_THAT(refusal("nvme-gen3, 64gb-ddr6-9000"), HasSubstr("kind 'ddr6'"));
  EXPECT_THAT(refusal("nvme-gen3, 64gb-ddr4-9000"), HasSubstr("DDR4 comes with 1600 to 5333 MT/s"));
  EXPECT_THAT(refusal("nvme-gen3, 4000000gb-ddr4-3200"), HasSubstr("at most"));
  EXPECT_THAT(refusal("nvme-gen3, 16gb-ddr4-3200, 100000c200000t"), HasSubstr("at most"));
}

TEST(MemoryName, HasThreeParts) {
  const auto name = parse_memory_name("64gb-ddr4-3600");
  ASSERT_TRUE(name);
  EXPECT_EQ(name->gb, 64U);
  EXPECT_EQ(name->kind, "ddr4");
  EXPECT_EQ(name->mega_transfers_per_s, 3600U);
  for (const std::string_view bad :
       {"", "64", "64gb", "64gb-", "64gb--3600", "64gb-ddr4", "64gb-ddr4-", "0gb-ddr4-3200",
        "64gb-ddr4-3600x", "-64gb-ddr4-3600", "64gb-ddr4-99999999999"})
    EXPECT_FALSE(parse_memory_name(bad)) << bad;
}

TEST(CpuName, HasOneOrTwoThreadsACore) {
  for (const std::string_view bad :
       {"", "8", "8c", "8c16", "8ct", "c16t", "8c7t", "8c18t", "0c0t", "0-threads", "8c16tt"})
    EXPECT_FALSE(parse_cpu_name(bad)) << bad;
}

TEST(Presets, AreListedAndEachMakesAMachine) {
  const auto presets = list_presets();
  std::set<std::string> names;
  for (const Preset& preset : presets) {
    EXPECT_TRUE(names.insert(preset.name).second) << preset.name;
    EXPECT_FALSE(preset.figures.empty()) << preset.name;
    EXPECT_FALSE(preset.source.empty()) << preset.name;
    std::string spec = preset.name;
    if (preset.kind != "memory") spec += ", 16gb-ddr4-3200";
    if (preset.kind != "disk") spec += ", sata-ssd";
    const Profile profile = machine(spec);
    EXPECT_TRUE(parse_profile(to_json(profile))) << preset.name;
  }
  EXPECT_THAT(names, IsSupersetOf({"rtx-2060-12gb", "rtx-2080-ti-11gb", "rtx-4060-ti-16gb", "rtx-5090-32gb",
                                   "64gb-ddr4-3600", "96gb-ddr5-5600", "hard-disk", "nvme-gen5", "12c24t",
                                   "rtx-2080-8gb", "i9-14900k", "ryzen-7-5800x", "ryzen-7-7800x3d"}));
}

/// Every group of figures, and every assumed share, must name its source.
TEST(Presets, HaveSources) {
  std::size_t groups = 0;
  const auto has_source = [](const nlohmann::json& group, const std::string& key) {
    return !group.value(key, "").empty();
  };
  for (const PresetText& preset : preset_texts()) {
    const auto file = parse_toml(preset.text, preset.file);
    ASSERT_TRUE(file) << file.error().message;
    for (const auto& [kind, content] : file->items()) {
      const bool one_group = kind.ends_with("_rules") || kind == "compute";
      for (const auto& [name, figures] : content.items()) {
        if (one_group) {
          const std::size_t share = name.ends_with("_share") ? name.size() - 6 : std::string::npos;
          if (share == std::string::npos) continue;
          EXPECT_TRUE(has_source(content, name.substr(0, share) + "_source")) << kind << "." << name;
        } else {
          EXPECT_TRUE(has_source(figures, "source")) << kind << "." << name;
          ++groups;
        }
      }
    }
  }
  EXPECT_GT(groups, 40U);
}

TEST(Presets, HoldTheMemoryThatTheirNamesSay) {
  for (const Preset& preset : list_presets()) {
    if (preset.kind != "gpu") continue;
    const std::size_t dash = preset.name.rfind('-');
    const Gpu gpu = machine(preset.name + ", 16gb-ddr4-3200, sata-ssd").gpus.at(0);
    EXPECT_EQ(std::to_string(gpu.total.value / kGiB.value) + "gb", preset.name.substr(dash + 1));
    EXPECT_TRUE(*gpu.pcie_width == 8 || *gpu.pcie_width == 16) << preset.name;
    EXPECT_GT(*gpu.memory_bytes_per_s, *gpu.host_to_device_bytes_per_s) << preset.name;
    EXPECT_GT(*gpu.multiplications_per_s, 1e12) << preset.name;
  }
}

TEST(Presets, OfLaterGenerationsAreFaster) {
  const auto gpu = [](const std::string& name) {
    return machine(name + ", 16gb-ddr4-3200, sata-ssd").gpus.at(0);
  };
  const std::vector<std::pair<std::string, std::string>> pairs{
      {"rtx-3060-12gb", "rtx-3070-8gb"},  {"rtx-3070-8gb", "rtx-3080-10gb"},
      {"rtx-3080-10gb", "rtx-3090-24gb"}, {"rtx-4060-8gb", "rtx-4070-12gb"},
      {"rtx-4070-12gb", "rtx-4080-16gb"}, {"rtx-4080-16gb", "rtx-4090-24gb"},
      {"rtx-5070-12gb", "rtx-5080-16gb"}, {"rtx-5080-16gb", "rtx-5090-32gb"},
      {"rtx-4090-24gb", "rtx-5090-32gb"}};
  for (const auto& [slower, faster] : pairs) {
    EXPECT_LT(*gpu(slower).memory_bytes_per_s, *gpu(faster).memory_bytes_per_s) << slower;
    EXPECT_LT(*gpu(slower).multiplications_per_s, *gpu(faster).multiplications_per_s) << slower;
    EXPECT_LE(*gpu(slower).host_to_device_bytes_per_s, *gpu(faster).host_to_device_bytes_per_s) << slower;
  }
  double last = 0;
  for (const std::string name : {"hard-disk", "sata-ssd", "nvme-gen3", "nvme-gen4", "nvme-gen5"}) {
    const Disk disk = machine("16gb-ddr4-3200, " + name).disk;
    EXPECT_GT(disk.reads.front().bytes_per_s, last) << name;
    last = disk.reads.front().bytes_per_s;
    EXPECT_EQ(disk.best_bytes_per_s(), disk.reads.back().bytes_per_s);
  }
}

class HardwareFile : public ::testing::Test {
 protected:
  Result<Profile> read(std::string_view text) {
    tree_.file("machine", text);
    return read_hardware_file(tree_.path() / "machine");
  }
  std::string refusal(std::string_view text, ErrorCode code = ErrorCode::kCorrupt) {
    const auto profile = read(text);
    EXPECT_FALSE(profile);
    if (profile) return {};
    EXPECT_EQ(profile.error().code, code);
    EXPECT_THAT(profile.error().message, HasSubstr((tree_.path() / "machine").string()));
    return profile.error().message;
  }
  testing::RecordedTree tree_;
};

TEST_F(HardwareFile, MayBeAProfile) {
  const Profile profile = machine(kExample);
  const auto again = read("\n " + to_json(profile));
  ASSERT_TRUE(again) << again.error().message;
  EXPECT_EQ(to_json(*again), to_json(profile));
  EXPECT_THAT(refusal("{\"profile_version\": 3}"), HasSubstr("name is missing"));
}

TEST_F(HardwareFile, MayNamePresetsAndAddItsOwn) {
  const auto profile = read(R"(
machine = "my-card, my-disk, 32gb-ddr4-3200, 6c12t"
[gpu.my-card]
name = "Mine"
memory = "20GiB"
memory_bytes_per_s = 800e9
pcie_generation = 3
pcie_width = 4
multiplications_per_s = 9e12
runtime = "1GiB"
[disk.my-disk]
kind = "SATA SSD"
reads = [{ size = 131072, bytes_per_s = 300_000_000 }]
[kernel.q4_K]
prompt_multiplications_per_s = 1e9
)");
  ASSERT_TRUE(profile) << profile.error().message;
  ASSERT_EQ(profile->gpus.size(), 1U);
  EXPECT_EQ(profile->gpus[0].name, "Mine");
  EXPECT_EQ(profile->gpus[0].total, kGiB * 20);
  EXPECT_EQ(profile->gpus[0].runtime, kGiB);
  EXPECT_NEAR(*profile->gpus[0].host_to_device_bytes_per_s, 3.15e9, 0.01e9);
  EXPECT_DOUBLE_EQ(*profile->gpus[0].multiplications_per_s, 9e12);
  EXPECT_EQ(profile->disk.reads.at(0).size, kKiB * 128);
  EXPECT_DOUBLE_EQ(profile->compute.find("q4_K")->prompt_multiplications_per_s, 6e9);
  // Figures that the file does not have stay.
  EXPECT_GT(profile->compute.find("q4_K")->decode_bytes_per_s, 1e9);
}

TEST_F(HardwareFile, IsRefusedWithWhatIsWrong) {
  EXPECT_THAT(refusal("machine = \n"), HasSubstr("line 1"));
  EXPECT_THAT(refusal("a = 1\nb = = 2\n"), HasSubstr("line 2"));
  EXPECT_THAT(refusal(""), HasSubstr("machine = "));
  EXPECT_THAT(refusal("machine = 5\n"), HasSubstr("machine = "));
  EXPECT_THAT(refusal("machine = \"nvme-gen3\"\n", ErrorCode::kInvalidArgument), HasSubstr("no memory"));
  const std::string like = "machine = \"x, 16gb-ddr4-3200, sata-ssd\"\n";
  EXPECT_THAT(refusal(like, ErrorCode::kInvalidArgument), HasSubstr("there is no hardware called 'x'"));
  EXPECT_THAT(refusal(like + "[gpu.x]\nname = \"X\"\n"), HasSubstr("gpu.x.memory is missing"));
  EXPECT_THAT(refusal(like + "[gpu]\nx = 5\n"), HasSubstr("gpu.x must be a group of fields"));
  const std::string card = like + "[gpu.x]\nname = \"X\"\nmemory = \"1GiB\"\npcie_width = 16\n";
  EXPECT_THAT(refusal(card + "pcie_generation = 4\nmemory_bytes_per_s = nan\n"),
              HasSubstr("gpu.x.memory_bytes_per_s must be a rate"));
  EXPECT_THAT(refusal(card + "pcie_generation = 9\nmemory_bytes_per_s = 1e9\n"),
              HasSubstr("lane_bytes_per_s.9"));
  EXPECT_THAT(refusal(card + "pcie_generation = -4\n"), HasSubstr("gpu.x.memory_bytes_per_s is missing"));
  EXPECT_THAT(refusal("machine = \"16gb-ddr4-3200, x\"\n[disk.x]\nkind = \"SATA SSD\"\nreads = []\n"),
              HasSubstr("disk.x.reads must not be empty"));
  EXPECT_THAT(refusal("machine = \"16gb-ddr4-3200, sata-ssd\"\n[kernel]\nq4_K = 1\n"),
              HasSubstr("kernel.q4_K"));
}

TEST_F(HardwareFile, OfBrokenTomlIsRefused) {
  for (const std::string_view text :
       {"[[[1]]]", "[[[a]]]", "[[=", "[&", "[", "=", "a.", "a = [", "a = \"", "a = 1e", "\xff",
        "a = 1\na = 2", "[a]\n[a]", "a = 0x", "a = 2020-99-99", "a = \"\\u"})
    EXPECT_THAT(refusal(text), HasSubstr("line ")) << text;
  refusal("a = " + std::string(100000, '['));
}

TEST_F(HardwareFile, ThatIsNotThereIsNotFound) {
  const auto profile = read_hardware_file(tree_.path() / "none");
  ASSERT_FALSE(profile);
  EXPECT_EQ(profile.error().code, ErrorCode::kNotFound);
  const auto directory = read_hardware_file(tree_.path());
  ASSERT_FALSE(directory);
  EXPECT_EQ(directory.error().code, ErrorCode::kIo);
}

}  // namespace
}  // namespace brimful::hardware
