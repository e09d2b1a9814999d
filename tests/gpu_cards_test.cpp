// Which cards are used, and how much of them: only those with a budget are touched, and NVML says what is
// left.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdlib>

#include "engine/driver_fit.h"
#include "session/devices.h"
#include "test_device.h"
#include "tier/gpu/gpu_device.h"

namespace brimful::tests {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;
using ::testing::StartsWith;

constexpr const char* kCard = "0000:c1:02.0";  // the address of the fake NVML's first card

/// A variable of the fake NVML, for as long as this lives.
class Variable {
 public:
  Variable(const char* name, const char* value) : name_(name) { ::setenv(name, value, 1); }
  ~Variable() { ::unsetenv(name_); }
  Variable(const Variable&) = delete;
  Variable& operator=(const Variable&) = delete;

 private:
  const char* name_;
};

engine::DriverAccount account(const char* behaviour = "good", const std::string& visible = "") {
  return engine::DriverAccount({std::string(BRIMFUL_FAKE_NVML_DIR "/libfake_nvml_") + behaviour + ".so",
                                std::chrono::milliseconds(20000), "/"},
                               visible);
}

/// The budgets as `name=MiB`, or the message of the error. `notes` gets the notes.
std::string budgets(const std::vector<ggml_backend_dev_t>& devices, const std::string& vram,
                    std::vector<std::string>* notes = nullptr,
                    const engine::DriverAccount& cards = account()) {
  const auto parts = session::parse_vram(vram, "--vram");
  if (!parts) return parts.error().message;
  const auto chosen =
      session::offload_options_among(devices, *parts, cards, "--vram", [&](const std::string& note) {
        if (notes != nullptr) notes->push_back(note);
      });
  if (!chosen) return chosen.error().message;
  std::string out;
  for (const engine::OffloadOption& one : *chosen) {
    out += (out.empty() ? "" : " ") + std::string(ggml_backend_dev_name(one.device)) + "=" +
           std::to_string(one.budget.value / kMiB.value);
  }
  return out;
}

TEST(GpuCards, ThatTwoBackEndsKnowAreFoundWithoutStartingTheirDrivers) {
  // Each test device is a back end of its own.
  TestDevice one({.name = "A0", .description = "RTX 3060"});
  TestDevice same({.name = "B0", .description = "RTX 3060"});
  TestDevice mesa({.name = "C0", .description = "RTX 3060 (NVK GA106)"});
  TestDevice other({.name = "D0", .description = "RTX 3060 Ti"});
  TestDevice unnamed({.name = "E0", .description = ""});
  TestDevice unnamed_too({.name = "F0", .description = ""});
  const std::vector<ggml_backend_dev_t> all{one.handle(),   same.handle(),    mesa.handle(),
                                            other.handle(), unnamed.handle(), unnamed_too.handle()};
  EXPECT_THAT(tier::one_for_each_card(all),
              ElementsAre(one.handle(), other.handle(), unnamed.handle(), unnamed_too.handle()));
  for (const TestDevice* device : {&one, &same, &mesa, &other, &unnamed, &unnamed_too})
    EXPECT_EQ(device->touched(), 0);
}

TEST(GpuCards, WithoutABudgetAreNotTouched) {
  TestDevice first({.name = "A0", .address = kCard, .capacity = kGiB * 12});
  TestDevice second({.name = "B0", .capacity = kGiB * 8});
  TestDevice third({.name = "C0", .capacity = kGiB * 8});
  const std::vector<ggml_backend_dev_t> all{first.handle(), second.handle(), third.handle()};
  std::vector<std::string> notes;
  EXPECT_EQ(budgets(all, "4GiB", &notes), "A0=4096");
  EXPECT_EQ(notes.front(),
            "--vram 4GiB is the budget of A0 only, of the GPUs A0, B0, C0; to use more, name each: --vram "
            "A0=4GiB,B0=4GiB,C0=4GiB");
  EXPECT_GT(first.touched(), 0);
  EXPECT_EQ(second.touched(), 0);
  EXPECT_EQ(budgets(all, "C0=0,B0=1GiB"), "B0=1024");
  EXPECT_GT(second.touched(), 0);
  EXPECT_EQ(third.touched(), 0) << "0 leaves it out";
}

TEST(GpuCards, AreGivenABudgetOnce) {
  TestDevice first({.name = "A0", .address = kCard});
  TestDevice same({.name = "B0", .address = kCard});
  EXPECT_EQ(budgets({first.handle(), same.handle()}, "A0=1GiB,B0=1GiB"),
            "--vram: A0 and B0 are the same card: name one of them");
  EXPECT_EQ(budgets({first.handle(), same.handle()}, "A0=1GiB,A0=1GiB"),
            "--vram A0=1GiB: A0 has a budget already");
  EXPECT_EQ(budgets({first.handle()}, "C0=1GiB"), "--vram C0=1GiB: the GPUs here are A0");
}

TEST(GpuCards, GiveWhatOthersLeaveAsNvmlSays) {
  TestDevice device({.name = "CUDA0", .address = kCard, .capacity = kGiB * 12});
  std::vector<std::string> notes;
  EXPECT_EQ(budgets({device.handle()}, "auto", &notes), "CUDA0=10752") << "11 GiB are free, and it draws";
  EXPECT_THAT(notes,
              ElementsAre("--vram auto: the budget of CUDA0 is 10.50 GiB: 11.00 GiB of its 12.00 GiB are "
                          "free (other programs hold 768.0 MiB), and 512.0 MiB are left to other programs"));
  notes.clear();
  EXPECT_EQ(budgets({device.handle()}, "10GiB", &notes), "CUDA0=10240");
  EXPECT_THAT(notes,
              ElementsAre("CUDA0: other programs hold 768.0 MiB of its 12.00 GiB; 11.00 GiB are free"));
  EXPECT_EQ(budgets({device.handle()}, "11.5GiB"), "CUDA0=10752") << "more than is free";
  const Variable allocated("FAKE_NVML_ALLOCATED", "2048");
  EXPECT_EQ(budgets({device.handle()}, "auto"), "CUDA0=9472");
  const Variable reserved("FAKE_NVML_RESERVED", "512");
  EXPECT_EQ(budgets({device.handle()}, "auto"), "CUDA0=9216") << "what the driver keeps is not free";
}

TEST(GpuCards, ThatNvmlDoesNotKnowAreAskedThemselves) {
  TestDevice device({.name = "Vulkan0", .capacity = kGiB});
  std::vector<std::string> notes;
  EXPECT_EQ(budgets({device.handle()}, "auto", &notes), "Vulkan0=768");
  EXPECT_THAT(notes,
              ElementsAre("--vram auto: the budget of Vulkan0 is 768.0 MiB: 1.00 GiB of its 1.00 GiB are "
                          "free, and 256.0 MiB are left to other programs"));
  notes.clear();
  EXPECT_EQ(budgets({device.handle()}, "512MiB", &notes), "Vulkan0=512");
  EXPECT_THAT(notes, IsEmpty());
}

/// A server (MPS) can allow its clients less than the card has.
TEST(GpuCards, HaveNoMoreThanTheirBackEndSays) {
  TestDevice device({.name = "CUDA0", .address = kCard, .capacity = kGiB * 4});
  EXPECT_EQ(budgets({device.handle()}, "auto"), "CUDA0=3584");
  EXPECT_EQ(budgets({device.handle()}, "5GiB"), "--vram 5GiB: CUDA0 has 4.00 GiB in all");
}

TEST(GpuCards, ThatAreDividedHaveTheMemoryOfOneInstance) {
  TestDevice device({.name = "CUDA0", .address = kCard, .capacity = kGiB * 6});
  EXPECT_EQ(budgets({device.handle()}, "auto", nullptr, account("divided", "MIG-instance-of-6-gib")),
            "CUDA0=5248")
      << "6144 less 576 less the reserve, in steps of 128";
  EXPECT_THAT(budgets({device.handle()}, "1GiB", nullptr, account("divided")),
              StartsWith("the card at 0000:c1:02.0 is divided (MIG) into 2 instances"));
}

/// A share with a buffer of 100 MiB that leaves `runtime` for the driver.
plan::DeviceShare share_with(Bytes runtime) {
  plan::DeviceShare share;
  share.name = "TEST0";
  share.budget = kGiB;
  share.weights = kMiB * 100;
  share.runtime = runtime;
  share.unused = kGiB - kMiB * 100 - runtime;
  return share;
}

TEST(DriverRoom, IsRefusedBeforeTheDriverNeedsIt) {
  TestDevice device({.capacity = kMiB * 200});
  const ggml_backend_buffer_ptr others(
      ggml_backend_buft_alloc_buffer(ggml_backend_dev_buffer_type(device.handle()), kMiB.value * 150));
  const engine::DriverFit driver(
      device.handle(), [](ggml_backend_dev_t) { return engine::DeviceHeld{kMiB * 110}; }, nullptr);
  EXPECT_TRUE(driver.check_room(share_with(kMiB * 60))) << "it has 10 of these, and 50 are free";
  const Status refused = driver.check_room(share_with(kMiB * 61));
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code, ErrorCode::kBudgetExceeded);
  EXPECT_EQ(
      refused.error().message,
      "TEST0: only 50.0 MiB of it are free, and its driver may take 51.0 MiB more: other programs hold the "
      "rest: close them, or use a smaller budget");
}

TEST(DriverRoom, OfAGuessIncludesThePageTablesOfPinnedMemory) {
  const auto guess = [](bool pins) {
    TestDevice device({.pins = pins});
    engine::DriverFit driver(
        device.handle(), [](ggml_backend_dev_t) { return engine::DeviceHeld{kMiB * 300}; }, nullptr);
    driver.set_pinned(kGiB * 52);
    return driver.guess(kGiB * 8);
  };
  EXPECT_EQ(guess(true), kMiB * (300 + 32 + 104));
  EXPECT_EQ(guess(false), kMiB * (300 + 32)) << "nothing is pinned";
}

}  // namespace
}  // namespace brimful::tests
