#include "engine/driver_account.h"

#include <gtest/gtest.h>

#include <fstream>

#include "engine/driver_figures.h"
#include "temporary_directory.h"

namespace brimful::engine {
namespace {

hardware::GpuQuery fake(const char* behaviour) {
  return {std::string(BRIMFUL_FAKE_NVML_DIR "/libfake_nvml_") + behaviour + ".so",
          std::chrono::milliseconds(20000), "/"};
}

TEST(DriverAccount, IsTheProcesssOwnEntry) {
  const DriverAccount account(fake("good"));
  ASSERT_TRUE(account.held("0000:c1:02.0"));
  EXPECT_EQ(account.held("0000:c1:02.0")->bytes, kMiB * 256);
  EXPECT_TRUE(account.held("0000:c1:02.0")->own);
  EXPECT_FALSE(account.held("0000:01:00.0")) << "no card there";
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
    figures.keep(device, "another", kMiB * 9);
  }
  const DriverFigures again(file);
  EXPECT_EQ(again.find(device, "a model")->took, kMiB * 7);
  EXPECT_TRUE(again.find(device, "a model")->same_use);
  EXPECT_EQ(again.find(device, "a third")->took, kMiB * 9) << "the device's last one";
  EXPECT_FALSE(again.find(device, "a third")->same_use);
  std::ofstream(file) << "{\"broken";
  EXPECT_FALSE(DriverFigures(file).find(device, "a model"));
}

}  // namespace
}  // namespace brimful::engine
