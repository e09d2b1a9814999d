#include "engine/driver_account.h"

#include <gtest/gtest.h>

#include <cstdlib>
#include <fstream>
#include <string>

#include "engine/driver_figures.h"
#include "temporary_directory.h"

namespace brimful::engine {
namespace {

hardware::GpuQuery fake(const char* behaviour) {
  return {std::string(BRIMFUL_FAKE_NVML_DIR "/libfake_nvml_") + behaviour + ".so",
          std::chrono::milliseconds(20000), "/"};
}

constexpr const char* kCard = "0000:c1:02.0";

TEST(DriverAccount, IsTheProcesssOwnEntry) {
  const DriverAccount account(fake("good"));
  ASSERT_TRUE(account.held(kCard));
  EXPECT_EQ(account.held(kCard)->bytes, kMiB * 256);
  EXPECT_TRUE(account.held(kCard)->own);
  EXPECT_FALSE(account.held("0000:01:00.0")) << "no card there";
  ASSERT_TRUE(account.card(kCard) && *account.card(kCard));
  EXPECT_EQ((*account.card(kCard))->total, kGiB * 12);
  EXPECT_FALSE(*account.card("0000:01:00.0"));
}

/// A variable of the fake NVML, for as long as this lives.
class Variable {
 public:
  Variable(const char* name, const std::string& value) : name_(name) { set(value); }
  ~Variable() { ::unsetenv(name_); }
  Variable(const Variable&) = delete;
  Variable& operator=(const Variable&) = delete;
  void set(const std::string& value) const { ::setenv(name_, value.c_str(), 1); }

 private:
  const char* name_;
};

TEST(DriverAccount, AnEntryThatRisesWithOurBuffersIsOurs) {
  const Variable own("FAKE_NVML_OWN", "0");
  const DriverAccount account(fake("good"));
  own.set("900");
  const auto held = account.held(kCard);
  ASSERT_TRUE(held && held->own);
  EXPECT_EQ(held->before, Bytes{});
  const auto ours = believed(held, kMiB * 500);
  ASSERT_TRUE(ours && ours->own);
  EXPECT_EQ(ours->bytes, kMiB * 900);
}

/// In a container, NVML lists the pids of the host. One of them can be ours by chance.
TEST(DriverAccount, AnEntryThatDoesNotRiseIsAnothersAndTheCardCounts) {
  const Variable own("FAKE_NVML_OWN", "4000");
  const Variable allocated("FAKE_NVML_ALLOCATED", "4800");
  const DriverAccount account(fake("good"));
  allocated.set("5900");
  const auto held = account.held(kCard);
  ASSERT_TRUE(held && held->own);
  EXPECT_EQ(held->bytes, kMiB * 4000);
  const auto ours = believed(held, kMiB * 500);
  ASSERT_TRUE(ours);
  EXPECT_FALSE(ours->own);
  EXPECT_EQ(ours->bytes, kMiB * 1100);
  EXPECT_FALSE(believed(held, kMiB * 1101)) << "our buffers are there, so this is not right either";
  own.set("4400");
  EXPECT_FALSE(believed(account.held(kCard), kMiB * 500)->own) << "it has risen by less than our buffers";
  own.set("4500");
  EXPECT_TRUE(believed(account.held(kCard), kMiB * 500)->own) << "a process that had used the card before";
}

TEST(DriverAccount, WhatIsReservedCountsInTheGrowthOfTheCard) {
  const Variable list("FAKE_NVML_LIST", "none");
  const Variable allocated("FAKE_NVML_ALLOCATED", "100");
  const Variable reserved("FAKE_NVML_RESERVED", "300");
  const DriverAccount account(fake("good"));
  EXPECT_EQ(account.card(kCard).value()->free, kMiB * (12288 - 400));
  allocated.set("700");
  reserved.set("340");
  const auto held = account.held(kCard);
  ASSERT_TRUE(held);
  EXPECT_FALSE(held->own);
  EXPECT_EQ(held->bytes, kMiB * 640);
  ASSERT_TRUE(held->card);
  EXPECT_EQ(held->card->reserved, kMiB * 340);
}

TEST(DriverAccount, KnowsAProcessWhoseContextAServerHolds) {
  const Variable list("FAKE_NVML_LIST", "mps");
  const Variable own("FAKE_NVML_OWN", "0");
  const DriverAccount account(fake("good"));
  own.set("800");
  EXPECT_EQ(believed(account.held(kCard), kMiB * 700)->bytes, kMiB * 800);
}

TEST(DriverAccount, OfADividedCardIsTheInstanceThatCudaTakes) {
  const auto refusal = [](const std::string& visible) {
    const auto card = DriverAccount(fake("divided"), visible).card(kCard);
    return card ? "" : card.error().message;
  };
  const std::string unclear =
      "the card at 0000:c1:02.0 is divided (MIG) into 2 instances, and it is not known which one is used: "
      "set "
      "CUDA_VISIBLE_DEVICES to the UUID of one (nvidia-smi -L lists them)";
  EXPECT_EQ(refusal(""), unclear);
  EXPECT_EQ(refusal("0"), unclear);
  EXPECT_EQ(refusal("MIG-instance"), unclear) << "both begin with this";
  EXPECT_FALSE(DriverAccount(fake("divided"), "").held(kCard));
  const Variable own("FAKE_NVML_OWN", "100");
  const DriverAccount account(fake("divided"), "MIG-instance-of-6-gib");
  ASSERT_TRUE(account.card(kCard));
  EXPECT_EQ((*account.card(kCard))->total, kGiB * 6) << "not that of the whole card";
  own.set("400");
  EXPECT_EQ(believed(account.held(kCard), kMiB * 300)->bytes, kMiB * 400);
  const Variable instances("FAKE_NVML_INSTANCES", "1");
  EXPECT_EQ(refusal(""), "") << "there is only one";
}

TEST(DriverAccount, IsNothingWithoutADriver) {
  EXPECT_FALSE(DriverAccount(fake("not_loaded")).held("0000:c1:02.0"));
  EXPECT_FALSE(
      DriverAccount({"libno-such-library.so", std::chrono::milliseconds(20000), "/"}).held("0000:c1:02.0"));
}

TEST(DriverFigures, AreKeptByUse) {
  const tests::TemporaryDirectory directory;
  const auto file = directory.path() / "new" / "drivers.json";
  ggml_backend_dev_t const device = ggml_backend_dev_by_type(GGML_BACKEND_DEVICE_TYPE_CPU);
  {
    DriverFigures figures(file);
    EXPECT_FALSE(figures.find(device, "a model"));
    figures.keep(device, "a model", kMiB * 7);
    figures.keep(device, "another", kMiB * 10, kMiB);
  }
  const DriverFigures again(file);
  EXPECT_EQ(again.find(device, "a model")->took, kMiB * 7);
  EXPECT_TRUE(again.find(device, "a model")->same_use);
  EXPECT_EQ(again.find(device, "another")->took, kMiB * 10);
  EXPECT_EQ(again.find(device, "a third")->took, kMiB * 9)
      << "the device's last one, without that use's part";
  EXPECT_FALSE(again.find(device, "a third")->same_use);
  std::ofstream(file) << "{\"broken";
  EXPECT_FALSE(DriverFigures(file).find(device, "a model"));
}

}  // namespace
}  // namespace brimful::engine
