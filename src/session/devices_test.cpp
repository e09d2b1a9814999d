#include "session/devices.h"

#include <gtest/gtest.h>

namespace brimful::session {
namespace {

std::string note(const std::string& vram, const std::vector<std::string>& used,
                 const std::vector<std::string>& all) {
  const auto parts = parse_vram(vram);
  return parts ? unused_devices_note(*parts, used, all) : parts.error().message;
}

TEST(UnusedDevicesNote, SaysWhichDeviceABudgetWithoutANameMeans) {
  EXPECT_EQ(
      note("8GiB", {"CUDA0"}, {"CUDA0", "CUDA1"}),
      "--vram 8GiB is the budget of CUDA0 only, of the GPUs CUDA0, CUDA1; to use more, name each: --vram "
      "CUDA0=8GiB,CUDA1=8GiB");
}

TEST(UnusedDevicesNote, KeepsSilentWhereNothingIsUnclear) {
  EXPECT_EQ(note("8GiB", {"CUDA0"}, {"CUDA0"}), "");
  EXPECT_EQ(note("CUDA1=8GiB", {"CUDA1"}, {"CUDA0", "CUDA1"}), "") << "it was named";
  EXPECT_EQ(note("8GiB,6GiB", {"CUDA0", "CUDA1"}, {"CUDA0", "CUDA1"}), "");
}

}  // namespace
}  // namespace brimful::session
