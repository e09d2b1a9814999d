#include "hardware/diagnostics.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <functional>

namespace brimful::hardware {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

Profile good_machine() {
  Profile profile;
  profile.ram.total = kGiB * 32;
  profile.ram.available = kGiB * 28;
  profile.ram.kind = "DDR4";
  profile.ram.mega_transfers_per_s = profile.ram.rated_mega_transfers_per_s = 3200;
  profile.ram.modules = 2;
  profile.ram.read_bytes_per_s = 40e9;
  profile.disk.device = "nvme0n1";
  profile.disk.kind = "NVMe SSD";
  profile.disk.file_system = "ext4";
  profile.disk.reads = {{kKiB * 64, 0.3e9}, {kMiB, 3.3e9}};
  profile.disk.beside_compute_bytes_per_s = 2e9;
  Gpu gpu;
  gpu.name = "RTX 3060";
  gpu.total = kGiB * 12;
  gpu.free = kGiB * 12;
  gpu.pcie_width = 16;
  profile.gpus = {gpu};
  return profile;
}

TEST(Diagnostics, AreNoneAboutAGoodMachine) {
  EXPECT_THAT(diagnostics(good_machine(), std::nullopt), IsEmpty());
  // The model fits into RAM and VRAM together.
  EXPECT_THAT(diagnostics(good_machine(), ModelSize{kGiB * 40}), IsEmpty());
}

TEST(Diagnostics, SayThatRatesWereMeasuredBesideOtherPrograms) {
  Profile profile = good_machine();
  profile.cpu.threads = 2;
  profile.disturbed_by = 1.04;
  EXPECT_THAT(diagnostics(profile, std::nullopt), ElementsAre(HasSubstr("used 1.0 of the 2 processors")));
}

TEST(Diagnostics, AreNoneAboutWhatIsNotKnown) {
  EXPECT_THAT(diagnostics(Profile{}, std::nullopt), IsEmpty());
}

TEST(Diagnostics, NameEachProblem) {
  struct Case {
    std::function<void(Profile&)> change;
    std::string sentence;
  };
  const std::vector<Case> cases{
      {[](Profile& p) { p.ram.swap_used = kMiB * 1536; }, "1.50 GiB are swapped out"},
      {[](Profile& p) { p.ram.cgroup_limit = kGiB * 8; }, "allows 8.00 GiB of the 32.00 GiB of RAM"},
      {[](Profile& p) { p.ram.mega_transfers_per_s = 2133; }, "runs at 2133 MT/s and is made for 3200"},
      {[](Profile& p) { p.ram.read_bytes_per_s = 20e9; },
       "Memory reads at 20 GB/s, less than half of what 3200 MT/s give on two channels (51.2 GB/s); is only "
       "one"},
      {[](Profile& p) {
         p.ram.read_bytes_per_s = 20e9;
         p.ram.modules = 1;
       },
       "there is one module: a second one"},
      {[](Profile& p) { p.disk.kind = "hard disk"; }, "lies on a hard disk (3.3 GB/s)"},
      {[](Profile& p) {
         p.disk.kind = "hard disk";
         p.disk.reads.clear();
       },
       "lies on a hard disk: on an SSD"},
      {[](Profile& p) {
         p.disk.kind = "network";
         p.disk.file_system = "nfs4";
       },
       "lies on a network file system, nfs4 (3.3 GB/s): copy it"},
      {[](Profile& p) { p.disk.kind = "USB disk"; }, "lies on a USB disk (3.3 GB/s): copy it"},
      {[](Profile& p) {
         p.disk.reads = {{kMiB, 140e6}};
       },
       "The disk reads at 140 MB/s"},
      {[](Profile& p) { p.disk.direct = false; }, "The file system ext4 cannot read past the page cache"},
      {[](Profile& p) { p.gpu_problem = "the card at 01:00.0 has no driver"; },
       "One GPU is not used: the card at 01:00.0 has no driver."},
      {[](Profile& p) { p.gpus[0].used = kGiB * 3; },
       "3.00 GiB of the 12.00 GiB on RTX 3060 are used by other"},
      {[](Profile& p) { p.gpus[0].pcie_width = 4; }, "RTX 3060 has 4 PCIe lanes"},
      {[](Profile& p) { p.gpus[0].pcie_width = 1; }, "RTX 3060 has 1 PCIe lane:"},
  };
  for (const Case& c : cases) {
    Profile profile = good_machine();
    c.change(profile);
    EXPECT_THAT(diagnostics(profile, std::nullopt), ElementsAre(HasSubstr(c.sentence)));
  }
}

TEST(Diagnostics, AboutAGpuThatIsTheOnlyOne) {
  Profile profile = good_machine();
  profile.gpus.clear();
  profile.gpu_problem = "no driver";
  EXPECT_THAT(diagnostics(profile, std::nullopt), ElementsAre("A GPU is not used: no driver."));
}

TEST(Diagnostics, IgnoreSmallDeviations) {
  const std::vector<std::function<void(Profile&)>> changes{
      [](Profile& p) { p.ram.swap_used = kMiB * 20; },
      [](Profile& p) { p.ram.swap_total = kGiB * 8; },
      [](Profile& p) { p.ram.cgroup_limit = p.ram.total; },
      [](Profile& p) { p.ram.read_bytes_per_s = 25.7e9; },
      [](Profile& p) { p.ram.rated_mega_transfers_per_s.reset(); },
      [](Profile& p) { p.disk.kind = "SATA SSD"; },
      [](Profile& p) {
        p.disk.reads = {{kMiB, 510e6}};
      },
      [](Profile& p) { p.gpus[0].used = kMiB * 300; },
      [](Profile& p) {
        p.gpus[0].used = kMiB * 700;
        p.gpus[0].reserved = kMiB * 400;
      },
      [](Profile& p) { p.gpus[0].pcie_width = 8; },
      [](Profile& p) { p.gpus[0].pcie_width.reset(); },
  };
  for (std::size_t i = 0; i < changes.size(); ++i) {
    Profile profile = good_machine();
    changes[i](profile);
    EXPECT_THAT(diagnostics(profile, std::nullopt), IsEmpty()) << i;
  }
}

TEST(Diagnostics, SayHowLongAModelThatDoesNotFitStreams) {
  EXPECT_THAT(
      diagnostics(good_machine(), ModelSize{kGiB * 42}),
      ElementsAre(
          "The model has 42.00 GiB of weights, and 28.00 GiB of RAM and 12.00 GiB of VRAM are free: a token "
          "reads at least 2.00 GiB from the disk, which takes 1.07 s at this disk's 2 GB/s."));
  Profile slow = good_machine();
  slow.gpus.clear();
  slow.ram.cgroup_limit = kGiB * 16;
  slow.disk.beside_compute_bytes_per_s = 0.1e9;
  EXPECT_THAT(
      diagnostics(slow, ModelSize{kGiB * 32})[0],
      HasSubstr("16.00 GiB of RAM are free: a token reads at least 16.00 GiB from the disk, which takes "
                "2.86 minutes at this disk's 100 MB/s"));
}

TEST(Diagnostics, CountOfExpertsOnlyThoseThatATokenUses) {
  // 20 of the 60 GiB are only on the disk. All of them are experts, of which a token uses a thirty-second
  // part.
  EXPECT_THAT(diagnostics(good_machine(), ModelSize{kGiB * 60, kGiB * 56, 1.0 / 32}),
              ElementsAre(HasSubstr(
                  "a token reads about 640.0 MiB from the disk, which takes 0.34 s at this disk's")));
}

TEST(Diagnostics, WithoutRatesSayOnlyThatItStreams) {
  Profile profile = good_machine();
  profile.disk.reads.clear();
  profile.disk.beside_compute_bytes_per_s = 0;
  EXPECT_THAT(diagnostics(profile, ModelSize{kGiB * 50}),
              ElementsAre(HasSubstr("a token reads at least 10.00 GiB from the disk.")));
}

TEST(Diagnostics, CountVramWithoutWhatTheDriverHolds) {
  Profile profile = good_machine();
  profile.gpus[0].runtime = kMiB * 512;
  EXPECT_THAT(diagnostics(profile, ModelSize{kGiB * 40}),
              ElementsAre(HasSubstr("11.50 GiB of VRAM are free: a token reads at least 512.0 MiB")));
}

}  // namespace
}  // namespace brimful::hardware
