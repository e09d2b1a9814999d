#include "session/plan_devices.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace brimful::session {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;

hardware::Profile machine(std::size_t gpus) {
  hardware::Profile out{.name = "a machine"};
  for (std::size_t i = 0; i < gpus; ++i)
    out.gpus.push_back({.name = "a card", .total = kGiB * 8, .used = kGiB * i});
  return out;
}

/// The budgets as `name=MiB`, or the message of the error.
std::string planned(const std::optional<std::string>& vram, std::size_t gpus, bool elsewhere = true) {
  std::optional<std::vector<VramPart>> parts;
  if (vram) parts = parse_vram(*vram, "--vram").value();
  const auto devices = plan_devices(parts, machine(gpus), elsewhere, {});
  if (!devices) {
    EXPECT_EQ(devices.error().code, ErrorCode::kInvalidArgument);
    return devices.error().message;
  }
  std::string out;
  for (const plan::DeviceBudget& device : devices->budgets)
    out += (out.empty() ? "" : " ") + device.name + "=" + std::to_string(device.budget.value / kMiB.value);
  return out;
}

TEST(PlanDevices, WithoutBudgetsTheyAreAllGpusOfAnotherMachineAndNoneOfThisOne) {
  EXPECT_EQ(planned({}, 2), "CUDA0=8192 CUDA1=7168") << "what is in use is not free";
  EXPECT_EQ(planned({}, 2, false), "");
  EXPECT_EQ(planned("0", 2), "") << "a budget for no GPU";
}

TEST(PlanDevices, ABudgetWithoutANameIsForTheNextGpu) {
  EXPECT_EQ(planned("1GiB,2GiB", 2), "CUDA0=1024 CUDA1=2048");
  EXPECT_EQ(planned("CUDA1=1GiB", 2), "CUDA1=1024");
  EXPECT_EQ(planned("CUDA0=0,CUDA1=1GiB", 2), "CUDA1=1024") << "0 leaves a GPU out";
  EXPECT_EQ(planned("1GiB", 1, false), "CUDA0=1024");
}

TEST(PlanDevices, ABudgetThatNoGpuCanHaveIsRefused) {
  EXPECT_EQ(
      planned("1GiB", 0),
      "budgets.vram 1GiB: a machine has 0 GPUs; leave budgets.vram out, or name a GPU with Machine::like()");
  EXPECT_EQ(planned("CUDA1=1GiB", 1), "budgets.vram CUDA1=1GiB: a machine has 1 GPU");
  EXPECT_EQ(planned("9GiB", 1), "budgets.vram 9GiB: CUDA0 (a card) has 8.00 GiB in all");
}

TEST(PlanDevices, SaysWhichOfSeveralGpusABudgetIsFor) {
  const auto note = [](const std::string& vram) {
    return plan_devices(parse_vram(vram, "--vram").value(), machine(2), true, {.vram = "--vram"})->notes;
  };
  EXPECT_THAT(note("1GiB"),
              ElementsAre("--vram 1GiB is the budget of CUDA0 only, of the GPUs CUDA0, CUDA1; to use "
                          "more, name each: --vram CUDA0=1GiB,CUDA1=1GiB"));
  EXPECT_THAT(note("CUDA0=1GiB"), IsEmpty());
}

TEST(PlanDevices, WithoutASizeABudgetIsWhatIsFreeLessAReserve) {
  EXPECT_EQ(planned("auto", 1), "CUDA0=7936");
  EXPECT_EQ(planned("CUDA1=auto", 2), "CUDA1=6912") << "1 GiB is in use";
  EXPECT_EQ(planned("CUDA1=8GiB", 2), "CUDA1=6912") << "more than is free";
}

}  // namespace
}  // namespace brimful::session
