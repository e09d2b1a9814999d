// The measured rate of copies to a device, tested with a device whose link has a known rate.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "probe/device_rates.h"
#include "test_device.h"

namespace brimful::tests {
namespace {

using ::testing::HasSubstr;

constexpr double kRate = 100e6;

TEST(DeviceRates, AreThoseOfTheLink) {
  TestDevice device({.bytes_per_s = kRate});
  const auto rates = probe::link_rates(device.handle(), 1);
  ASSERT_TRUE(rates) << rates.error().message;
  for (const double rate : {rates->copies_bytes_per_s, rates->copies_beside_reads_bytes_per_s}) {
    EXPECT_LE(rate, kRate * 1.05);
    EXPECT_GT(rate, 0) << "how far below the link depends on who else takes the cores";
  }
  EXPECT_GT(rates->reads_beside_copies_bytes_per_s, 0);
  EXPECT_EQ(device.used(), Bytes{}) << "it gives back what it takes";
}

TEST(DeviceRates, GoToTheCardsOfThatName) {
  TestDevice one({.bytes_per_s = kRate});
  TestDevice two({.bytes_per_s = kRate});
  const std::string name = ggml_backend_dev_description(one.handle());
  std::vector<hardware::Gpu> gpus{{.name = "another card"}, {.name = name, .total = kGiB}};
  ASSERT_TRUE(probe::measure_links({one.handle(), two.handle()}, 1, gpus));
  ASSERT_EQ(gpus.size(), 3U) << "one that no driver has named is added";
  EXPECT_FALSE(gpus[0].host_to_device_bytes_per_s);
  EXPECT_TRUE(gpus[1].host_to_device_bytes_per_s);
  EXPECT_TRUE(gpus[1].copies_beside_reads_bytes_per_s);
  EXPECT_TRUE(gpus[1].reads_beside_copies_bytes_per_s);
  EXPECT_EQ(gpus[1].total, kGiB);
  EXPECT_EQ(gpus[2].name, name);
  EXPECT_TRUE(gpus[2].host_to_device_bytes_per_s);
  EXPECT_GT(gpus[2].total, Bytes{});
}

TEST(DeviceRates, AreAbsentWhereThereIsNoRoom) {
  TestDevice device({.capacity = kMiB});
  std::vector<hardware::Gpu> gpus;
  const Status measured = probe::measure_links({device.handle()}, 1, gpus);
  ASSERT_FALSE(measured);
  EXPECT_THAT(measured.error().message, HasSubstr("no room for a copy"));
  ASSERT_EQ(gpus.size(), 1U);
  EXPECT_FALSE(gpus[0].host_to_device_bytes_per_s);
}

}  // namespace
}  // namespace brimful::tests
