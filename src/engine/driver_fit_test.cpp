#include "engine/driver_fit.h"

#include <gtest/gtest.h>

#include <utility>

#include "temporary_directory.h"

namespace brimful::engine {
namespace {

/// A device whose driver is not assumed to hold anything.
ggml_backend_dev_t device() { return ggml_backend_dev_by_type(GGML_BACKEND_DEVICE_TYPE_CPU); }

/// A share with 500 MiB of buffers that leaves `runtime` for the driver.
plan::DeviceShare share_with(Bytes runtime) {
  plan::DeviceShare share;
  share.name = "GPU";
  share.budget = kGiB;
  share.weights = kMiB * 500;
  share.runtime = runtime;
  share.unused = kGiB - kMiB * 500 - runtime;
  return share;
}

std::optional<DeviceHeld> own(Bytes bytes) { return DeviceHeld{bytes, true}; }
/// Bytes of which other programs may have a part.
std::optional<DeviceHeld> shared(Bytes bytes) { return DeviceHeld{bytes, false}; }

/// A driver that holds `first` bytes when it is asked for the first time, and `later` afterwards.
HeldOnDevice holds(const std::optional<DeviceHeld>& first, const std::optional<DeviceHeld>& later) {
  return [first, later, asked = std::make_shared<bool>(false)](ggml_backend_dev_t) {
    return std::exchange(*asked, true) ? later : first;
  };
}

TEST(DriverFit, GuessesWhatTheDriverHeldAtTheBeginning) {
  EXPECT_EQ(DriverFit(device(), {}, nullptr).guess(kGiB), Bytes{}) << "nobody asks the driver";
  EXPECT_EQ(DriverFit(device(), holds(own(kMiB * 300), {}), nullptr).guess(kGiB), kMiB * 304)
      << "and a 256th of the budget";
  EXPECT_EQ(DriverFit(device(), holds(shared(kMiB * 300), {}), nullptr).guess(kGiB), kMiB * 4)
      << "other programs may hold these";
}

TEST(DriverFit, RemembersEarlierStarts) {
  const tests::TemporaryDirectory directory;
  const auto figures = std::make_shared<DriverFigures>(directory.path() / "drivers.json");
  figures->keep(device(), "a model", kMiB * 400);
  DriverFit driver(device(), holds(own(kMiB * 300), {}), figures);
  driver.set_use("a model");
  EXPECT_EQ(driver.guess(kGiB), kMiB * 400);
  driver.set_use("another");
  EXPECT_EQ(driver.guess(kGiB), kMiB * 404) << "a guess has a margin";
}

TEST(DriverFit, MeasuresWhatIsHeldBesideTheBuffers) {
  DriverFit driver(device(), holds({}, own(kMiB * 600)), nullptr);
  std::vector<std::string> notes;
  EXPECT_TRUE(driver.measure(share_with(kMiB * 100), kGiB, notes));
  EXPECT_EQ(driver.measured(), kMiB * 102);
  EXPECT_EQ(driver.guess(kGiB), kMiB * 102) << "it is known now";
  EXPECT_TRUE(driver.measure(share_with(kMiB * 108), kGiB, notes))
      << "8 MiB too much are no reason to start again";
  EXPECT_FALSE(driver.measure(share_with(kMiB * 109), kGiB, notes));
  EXPECT_FALSE(driver.measure(share_with(kMiB * 99), kGiB, notes)) << "more than was left for it";
  EXPECT_TRUE(notes.empty());
}

TEST(DriverFit, KeepsOnlyWhatIsItsOwn) {
  const tests::TemporaryDirectory directory;
  const auto figures = std::make_shared<DriverFigures>(directory.path() / "drivers.json");
  std::vector<std::string> notes;
  DriverFit others(device(), holds({}, shared(kMiB * 600)), figures);
  others.set_use("a model");
  EXPECT_TRUE(others.measure(share_with(kMiB * 100), kGiB, notes));
  others.keep();
  EXPECT_FALSE(figures->find(device(), "a model"));
  DriverFit mine(device(), holds({}, own(kMiB * 600)), figures);
  mine.set_use("a model");
  EXPECT_TRUE(mine.measure(share_with(kMiB * 100), kGiB, notes));
  mine.keep();
  ASSERT_TRUE(figures->find(device(), "a model"));
  EXPECT_EQ(figures->find(device(), "a model")->took, kMiB * 102);
}

/// What NVML says in a container where another process has our pid, with 700 MiB from the beginning.
std::optional<DeviceHeld> others_entry(Bytes growth) {
  return DeviceHeld{.bytes = kMiB * 700, .own = true, .before = kMiB * 700, .growth = growth};
}

TEST(DriverFit, DoesNotBelieveAnEntryThatDoesNotRise) {
  DriverFit driver(device(), holds(others_entry({}), others_entry(kMiB * 600)), nullptr);
  EXPECT_EQ(driver.guess(kGiB), kMiB * 4) << "the 700 MiB are not ours";
  std::vector<std::string> notes;
  EXPECT_TRUE(driver.measure(share_with(kMiB * 100), kGiB, notes));
  EXPECT_EQ(driver.measured(), kMiB * 102) << "by the growth of the card";
  ASSERT_EQ(notes.size(), 1U);
  EXPECT_TRUE(notes[0].starts_with("GPU: its driver does not say what this process holds")) << notes[0];
  EXPECT_TRUE(DriverFit(device(), holds({}, others_entry({})), nullptr).check_unused(kMiB * 500));
}

TEST(DriverFit, TellsHowTheCardWasWhenItWasMeasured) {
  DeviceHeld held{.bytes = kMiB * 600};
  held.card = hardware::Gpu{.total = kGiB * 8, .free = kGiB * 6, .used = kGiB * 2};
  held.card->reserved = kMiB * 300;
  DriverFit driver(device(), holds({}, held), nullptr);
  EXPECT_FALSE(driver.card());
  std::vector<std::string> notes;
  EXPECT_TRUE(driver.measure(share_with(kMiB * 100), kGiB, notes));
  ASSERT_TRUE(driver.card());
  EXPECT_EQ(driver.card()->used, kGiB * 2);
  EXPECT_EQ(driver.card()->reserved, kMiB * 300);
  EXPECT_EQ(driver.card()->process, kMiB * 600);
  EXPECT_EQ(driver.card()->others, kMiB * (2048 - 300 - 600));
}

TEST(DriverFit, SaysWhenItIsNotKnown) {
  const std::vector<std::optional<DeviceHeld>> implausible{{}, own(kMiB * 499), shared(kMiB * 2037)};
  for (const std::optional<DeviceHeld>& held : implausible) {
    DriverFit driver(device(), holds({}, held), nullptr);
    std::vector<std::string> notes;
    EXPECT_TRUE(driver.measure(share_with(kMiB * 100), kGiB, notes));
    EXPECT_FALSE(driver.measured());
    ASSERT_EQ(notes.size(), 1U);
    EXPECT_EQ(notes[0],
              "GPU: the memory of its driver is not known; 100.0 MiB of the budget are reserved for it");
  }
}

TEST(DriverFit, RefusesADeviceWhoseDriverAloneIsTooLarge) {
  EXPECT_TRUE(DriverFit(device(), holds({}, own(kGiB)), nullptr).check_unused(kGiB));
  EXPECT_TRUE(DriverFit(device(), holds({}, shared(kGiB * 2)), nullptr).check_unused(kGiB));
  const Status refused = DriverFit(device(), holds({}, own(kGiB * 2)), nullptr).check_unused(kGiB);
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code, ErrorCode::kInfeasible);
}

}  // namespace
}  // namespace brimful::engine
