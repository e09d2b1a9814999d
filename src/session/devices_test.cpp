#include "session/devices.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace brimful::session {
namespace {

std::string note(const std::string& vram, const std::vector<std::string>& used,
                 const std::vector<std::string>& all) {
  const auto parts = parse_vram(vram, "--vram");
  return parts ? unused_devices_note(*parts, used, all, "--vram") : parts.error().message;
}

/// The parts as `name=bytes`; a part without a name as bytes alone. Or the message of the error.
std::string parsed(const std::string& text) {
  const auto parts = parse_vram(text, "--gpu-memory");
  if (!parts) {
    EXPECT_EQ(parts.error().code, ErrorCode::kInvalidArgument);
    return parts.error().message;
  }
  std::string out;
  for (const VramPart& part : *parts)
    out += (out.empty() ? "" : " ") + (part.name ? *part.name + "=" : "") +
           (part.size ? std::to_string(part.size->value) : "free");
  return out;
}

TEST(ParseVram, ABudgetHasANameOrNone) {
  EXPECT_EQ(parsed("2KiB"), "2048");
  EXPECT_EQ(parsed("CUDA1=2KiB"), "CUDA1=2048");
  EXPECT_EQ(parsed("1KiB,CUDA1=2KiB,4KiB"), "1024 CUDA1=2048 4096");
  EXPECT_EQ(parsed("RPC0[host:50052]=1KiB"), "RPC0[host:50052]=1024");
}

TEST(ParseVram, ASizeMayBeLeftToTheCard) {
  EXPECT_EQ(parsed("auto"), "free");
  EXPECT_EQ(parsed("CUDA1=auto,1KiB"), "CUDA1=free 1024");
  EXPECT_EQ(vram_parts({{.device = "CUDA1"}}).front().text, "CUDA1=auto");
  EXPECT_FALSE(vram_parts({VramBudget{}}).front().size);
  EXPECT_TRUE(vram_parts({{.bytes = Bytes{}}}).front().is_nothing());
}

TEST(ParseVram, WhatIsNoSizeIsRefusedWithTheFlag) {
  for (const char* const wrong :
       {"CUDA0", "CUDA0=", "=", ",1KiB", "1KiB,,1KiB", "-1KiB", "1KiB;2KiB", "CUDA0=1KiB=2KiB"})
    EXPECT_THAT(parsed(wrong), testing::StartsWith("--gpu-memory: ")) << wrong;
}

TEST(ParseVram, NothingAndASmallNumberWithoutAUnitAreRefusedWithAHint) {
  EXPECT_EQ(parsed(""), "--gpu-memory: is empty: give a size, as in 8GiB");
  EXPECT_EQ(parsed("8"), "--gpu-memory 8: a budget of 8 bytes holds no weights: use a unit, as in 8GiB");
  EXPECT_THAT(parsed("CUDA0=8GiB,CUDA1=6"), testing::StartsWith("--gpu-memory CUDA1=6: a budget of 6 bytes"));
  EXPECT_EQ(parsed("0"), "0") << "the GPU is not used";
  EXPECT_EQ(parsed("1048576"), "1048576");
}

TEST(UnusedDevicesNote, SaysWhichDeviceABudgetWithoutANameMeans) {
  EXPECT_EQ(
      note("8GiB", {"CUDA0"}, {"CUDA0", "CUDA1"}),
      "--vram 8GiB is the budget of CUDA0 only, of the GPUs CUDA0, CUDA1; to use more, name each: --vram "
      "CUDA0=8GiB,CUDA1=8GiB");
}

TEST(UnusedDevicesNote, NamesEachWhereTheSizeIsLeftOut) {
  EXPECT_EQ(
      note("auto", {"CUDA0"}, {"CUDA0", "CUDA1"}),
      "--vram auto is the budget of CUDA0 only, of the GPUs CUDA0, CUDA1; to use more, name each: --vram "
      "CUDA0=auto,CUDA1=auto");
}

TEST(UnusedDevicesNote, KeepsSilentWhereNothingIsUnclear) {
  EXPECT_EQ(note("8GiB", {"CUDA0"}, {"CUDA0"}), "");
  EXPECT_EQ(note("CUDA1=8GiB", {"CUDA1"}, {"CUDA0", "CUDA1"}), "") << "it was named";
  EXPECT_EQ(note("8GiB,6GiB", {"CUDA0", "CUDA1"}, {"CUDA0", "CUDA1"}), "");
}

}  // namespace
}  // namespace brimful::session
