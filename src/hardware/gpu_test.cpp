#include "hardware/gpu.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>

#include "hardware/child_process.h"
#include "hardware/recorded_tree.h"

namespace brimful::hardware {
namespace {

using ::testing::HasSubstr;
using testing::RecordedTree;

/// A PCI bus with cards and other devices.
class Bus : public RecordedTree {
 public:
  Bus() { device("0000:00:02.0", "0x8086", "0x030000"); }
  Bus& device(const std::string& address, const std::string& vendor, const std::string& kind,
              const std::string& driver = "") {
    const std::string dir = "sys/bus/pci/devices/" + address;
    file(dir + "/vendor", vendor + "\n").file(dir + "/class", kind + "\n");
    if (!driver.empty()) link(dir + "/driver", "../../../../bus/pci/drivers/" + driver);
    return *this;
  }
  Bus& card(const std::string& driver) { return device("0000:01:00.0", "0x10de", "0x030000", driver); }
};

/// Asks a library that replaces NVIDIA's.
Gpus ask(const std::string& fake, const std::filesystem::path& root = RecordedTree().path()) {
  return read_gpus(
      {BRIMFUL_FAKE_NVML_DIR "/libfake_nvml_" + fake + ".so", std::chrono::milliseconds(20000), root});
}

TEST(ReadGpus, DescribesEachCard) {
  const Gpus gpus = ask("good");
  EXPECT_EQ(gpus.problem, std::nullopt);
  ASSERT_EQ(gpus.cards.size(), 2U);
  EXPECT_EQ(gpus.cards[0].name, "NVIDIA GeForce RTX 3060");
  EXPECT_EQ(gpus.cards[0].total, kGiB * 12);
  EXPECT_EQ(gpus.cards[0].free, kGiB * 11);
  EXPECT_EQ(gpus.cards[0].used, kGiB) << "what programs hold, and what is reserved";
  EXPECT_EQ(gpus.cards[0].reserved, kMiB * 256);
  EXPECT_TRUE(gpus.cards[0].draws);
  EXPECT_FALSE(gpus.cards[0].instance);
  EXPECT_FALSE(gpus.cards[0].managed_by_windows);
  EXPECT_EQ(gpus.cards[0].driver, "550.54.14");
  EXPECT_EQ(gpus.cards[0].pcie_generation, 4U);  // This is not the value of the idle link.
  // This is the present value, because the highest one is not known.
  EXPECT_EQ(gpus.cards[0].pcie_width, 16U);
  EXPECT_DOUBLE_EQ(gpus.cards[0].memory_bytes_per_s.value_or(0), 360.048e9);
  EXPECT_EQ(gpus.cards[1].memory_bytes_per_s, std::nullopt) << "its driver does not say the clock";
  ASSERT_EQ(gpus.cards[0].processes.size(), 3U);  // The memory of a fourth process is not known.
  EXPECT_EQ(gpus.cards[0].processes[0].pid, 4711U);
  EXPECT_EQ(gpus.cards[0].processes[1].pid, static_cast<std::uint64_t>(::getpid()));
  EXPECT_EQ(gpus.cards[0].pci_address, "0000:c1:02.0");
  EXPECT_EQ(gpus.cards[1].pci_address, std::nullopt);
  EXPECT_EQ(gpus.cards[0].processes[0].used, kMiB * 768);
  EXPECT_EQ(gpus.cards[0].processes[2].pid, 4713U) << "it draws";
  EXPECT_EQ(gpus.cards[1].name, "NVIDIA GeForce GTX 1080");
  EXPECT_EQ(gpus.cards[1].pcie_width, 4U);
  EXPECT_EQ(gpus.cards[1].used, kMiB * 512);
  EXPECT_EQ(gpus.cards[1].reserved, std::nullopt) << "its driver does not say it";
  EXPECT_FALSE(gpus.cards[1].draws);
}

TEST(ReadGpus, OfAnOlderDriverDoNotSayWhatIsReserved) {
  const Gpus gpus = ask("older");
  ASSERT_EQ(gpus.cards.size(), 2U);
  EXPECT_EQ(gpus.cards[0].reserved, std::nullopt);
  EXPECT_EQ(gpus.cards[0].free, kGiB * 11);
  EXPECT_EQ(gpus.cards[0].used, kGiB);
}

TEST(ReadGpus, KnowAScreenWhereNoProcessIsListed) {
  ::setenv("FAKE_NVML_SCREEN", "0", 1);
  EXPECT_FALSE(ask("good").cards.at(0).draws);
  ::setenv("FAKE_NVML_SCREEN", "1", 1);
  EXPECT_TRUE(ask("good").cards.at(0).draws);
  ::unsetenv("FAKE_NVML_SCREEN");
}

TEST(ReadGpus, ListTheProcessesOfAServerThatHoldsTheirContexts) {
  ::setenv("FAKE_NVML_LIST", "mps", 1);
  const Gpus gpus = ask("good");
  ::unsetenv("FAKE_NVML_LIST");
  const auto& all = gpus.cards.at(0).processes;
  const auto own = std::ranges::find(all, static_cast<std::uint64_t>(::getpid()), &GpuProcess::pid);
  ASSERT_NE(own, all.end());
  EXPECT_EQ(own->used, kMiB * 256);
}

TEST(ReadGpus, OfADividedCardAreItsInstances) {
  const Gpus gpus = ask("divided");
  ASSERT_EQ(gpus.cards.size(), 3U);
  EXPECT_EQ(gpus.problem, std::nullopt);
  EXPECT_EQ(gpus.cards[0].name, "NVIDIA RTX 3060 MIG 1g.3gb");
  EXPECT_EQ(gpus.cards[0].total, kGiB * 3);
  EXPECT_EQ(gpus.cards[0].free, kMiB * (3072 - 96));
  EXPECT_EQ(gpus.cards[0].reserved, kMiB * 32);
  EXPECT_EQ(gpus.cards[0].pci_address, "0000:c1:02.0") << "that of the whole card";
  EXPECT_EQ(gpus.cards[0].instance, "MIG-instance-of-3-gib");
  ASSERT_EQ(gpus.cards[0].processes.size(), 1U);
  EXPECT_EQ(gpus.cards[1].instance, "MIG-instance-of-6-gib") << "there is none between them";
  EXPECT_EQ(gpus.cards[1].used, kMiB * 576);
  EXPECT_EQ(gpus.cards[2].name, "NVIDIA GeForce GTX 1080");
}

TEST(ReadGpus, SayThatADividedCardHasNoInstance) {
  ::setenv("FAKE_NVML_INSTANCES", "0", 1);
  const Gpus gpus = ask("divided");
  ::unsetenv("FAKE_NVML_INSTANCES");
  ASSERT_EQ(gpus.cards.size(), 1U);
  EXPECT_EQ(gpus.problem.value_or(""),
            "NVIDIA's driver answers 'MIG is on, and no instance is visible' for one of the cards: make one "
            "with nvidia-smi mig, or switch MIG off");
}

TEST(ReadGpus, InsideWindowsAreSharedWithIt) {
  RecordedTree windows;
  windows.file("proc/sys/kernel/osrelease", "5.15.153.1-microsoft-standard-WSL2\n");
  ::setenv("FAKE_NVML_LIST", "none", 1);
  const Gpus gpus = ask("good", windows.path());
  ::unsetenv("FAKE_NVML_LIST");
  ASSERT_EQ(gpus.cards.size(), 2U);
  EXPECT_TRUE(gpus.cards[0].managed_by_windows);
  EXPECT_TRUE(gpus.cards[1].draws);
  EXPECT_TRUE(gpus.cards[0].processes.empty());
  RecordedTree plain;
  plain.file("proc/sys/kernel/osrelease", "6.12.0-amd64\n");
  EXPECT_FALSE(ask("good", plain.path()).cards.at(0).managed_by_windows);
}

TEST(ReadGpus, SaysWhatTheDriverSays) {
  const Gpus gpus = ask("broken");
  EXPECT_TRUE(gpus.cards.empty());
  ASSERT_TRUE(gpus.problem);
  EXPECT_THAT(*gpus.problem, HasSubstr("'Driver/library version mismatch'"));
  EXPECT_THAT(*gpus.problem, HasSubstr("restart the machine"));
}

TEST(ReadGpus, OutlivesADriverThatCrashes) {
  const Gpus gpus = ask("crashing");
  EXPECT_TRUE(gpus.cards.empty());
  ASSERT_TRUE(gpus.problem);
  EXPECT_THAT(*gpus.problem, HasSubstr("crashed when asked for its cards (signal 11)"));
}

TEST(ReadGpus, DoesNotWaitForADriverThatHangs) {
  const auto start = std::chrono::steady_clock::now();
  const Gpus gpus = read_gpus({BRIMFUL_FAKE_NVML_DIR "/libfake_nvml_hanging.so",
                               std::chrono::milliseconds(200), RecordedTree().path()});
  EXPECT_LT(std::chrono::steady_clock::now() - start, std::chrono::seconds(10));
  ASSERT_TRUE(gpus.problem);
  EXPECT_THAT(*gpus.problem, HasSubstr("did not answer within 0.2 s"));
}

TEST(ReadGpus, RefusesImpossibleAnswers) {
  for (const char* fake : {"lying", "leaving"}) {
    const Gpus gpus = ask(fake);
    EXPECT_TRUE(gpus.cards.empty());
    ASSERT_TRUE(gpus.problem) << fake;
    EXPECT_THAT(*gpus.problem, HasSubstr("an answer that cannot be read"));
  }
}

TEST(ReadGpus, WithoutALibraryOrACardAreNone) {
  const Gpus gpus = read_gpus({"libno-such-thing.so.1", std::chrono::milliseconds(20000), Bus().path()});
  EXPECT_TRUE(gpus.cards.empty());
  EXPECT_EQ(gpus.problem, std::nullopt);
}

TEST(ReadGpus, WithTheLibraryAndNoCardAreNone) { EXPECT_EQ(ask("not_loaded").problem, std::nullopt); }

TEST(ReadGpus, SeesACardWithoutItsDriver) {
  const auto problem = [](Bus& bus) {
    return read_gpus({"libno-such-thing.so.1", std::chrono::milliseconds(20000), bus.path()})
        .problem.value_or("");
  };
  Bus bare, nouveau, passed_on;
  EXPECT_THAT(problem(bare.card("")), HasSubstr("0000:01:00.0 and no NVIDIA driver that answers: install"));
  EXPECT_THAT(problem(nouveau.card("nouveau")),
              HasSubstr("runs with the driver nouveau, which cannot compute"));
  EXPECT_THAT(problem(passed_on.card("vfio-pci")), HasSubstr("handed to a virtual machine"));
}

TEST(ReadGpus, SeesACardWhoseDriverIsNotLoaded) {
  Bus bare, loaded;
  EXPECT_THAT(ask("not_loaded", bare.card("").path()).problem.value_or(""),
              HasSubstr("install NVIDIA's driver"));
  EXPECT_THAT(ask("not_loaded", loaded.card("nvidia").path()).problem.value_or(""),
              HasSubstr("'Driver Not Loaded': load or reinstall"));
}

TEST(NvidiaCards, AreDisplayAndComputeCardsOnly) {
  Bus bus;
  bus.device("0000:02:00.0", "0x10de", "0x030200", "nvidia").card("nouveau");
  bus.device("0000:01:00.1", "0x10de", "0x040300", "snd_hda_intel");  // The card's sound device.
  const auto cards = read_nvidia_cards(bus.path());
  ASSERT_EQ(cards.size(), 2U);
  EXPECT_EQ(cards[0].address, "0000:01:00.0");
  EXPECT_EQ(cards[0].driver, "nouveau");
  EXPECT_EQ(cards[1].driver, "nvidia");
  EXPECT_TRUE(read_nvidia_cards(RecordedTree().path()).empty());
}

TEST(RunInChild, ReturnsTextsOfAnySize) {
  std::string large(300000, 'x');
  const ChildEnd end = run_in_child([&] { return large; }, std::chrono::seconds(20));
  EXPECT_EQ(end.how, ChildEnd::How::kReturned);
  EXPECT_EQ(end.text, large);
  EXPECT_EQ(run_in_child([] { return std::string(); }, std::chrono::seconds(20)).how,
            ChildEnd::How::kReturned);
}

TEST(RunInChild, DoesNotTakeATextTooLargeForWhole) {
  const ChildEnd end = run_in_child([] { return std::string(2 << 20, 'x'); }, std::chrono::seconds(20));
  EXPECT_EQ(end.how, ChildEnd::How::kExited);
  EXPECT_EQ(end.text, "");
}

TEST(RunInChild, SurvivesWhatIsThrown) {
  const ChildEnd end = run_in_child([]() -> std::string { throw 1; }, std::chrono::seconds(20));
  EXPECT_EQ(end.how, ChildEnd::How::kExited);
}

}  // namespace
}  // namespace brimful::hardware
