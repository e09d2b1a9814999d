#include "engine/driver_account.h"

#include <gtest/gtest.h>

namespace strata::engine {
namespace {

hardware::GpuQuery fake(const char* behaviour) {
  return {std::string(STRATA_FAKE_NVML_DIR "/libfake_nvml_") + behaviour + ".so",
          std::chrono::milliseconds(20000), "/"};
}

TEST(DriverAccount, IsTheProcesssOwnEntry) {
  const DriverAccount account(fake("good"));
  EXPECT_EQ(account.held("0000:c1:02.0"), kMiB * 256);
  EXPECT_EQ(account.held("0000:01:00.0"), std::nullopt) << "no card there";
}

TEST(DriverAccount, IsNothingWithoutADriver) {
  EXPECT_EQ(DriverAccount(fake("not_loaded")).held("0000:c1:02.0"), std::nullopt);
  EXPECT_EQ(
      DriverAccount({"libno-such-library.so", std::chrono::milliseconds(20000), "/"}).held("0000:c1:02.0"),
      std::nullopt);
}

}  // namespace
}  // namespace strata::engine
