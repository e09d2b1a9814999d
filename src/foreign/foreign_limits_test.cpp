#include "foreign/foreign_limits.h"

#include <gtest/gtest.h>

namespace brimful::foreign {
namespace {

using std::chrono::milliseconds;

TEST(ShareOfReading, IsSmallerTheMoreRequestsCome) {
  EXPECT_EQ(share_of_reading(0, milliseconds(0)), milliseconds(2500)) << "alone";
  EXPECT_EQ(share_of_reading(7, milliseconds(0)), milliseconds(500));
  EXPECT_EQ(share_of_reading(500, milliseconds(0)), milliseconds(500)) << "most of many are quick";
  EXPECT_EQ(share_of_reading(3, milliseconds(2000)), milliseconds(500));
  EXPECT_EQ(share_of_reading(0, milliseconds(60'000)), milliseconds(250)) << "never nothing";
}

TEST(ShareOfReading, LetsEightAtOnceBeDoneInTime) {
  milliseconds waited{0};
  for (std::size_t others = 8; others-- > 0;) waited += share_of_reading(others, waited);
  EXPECT_LE(waited, milliseconds(4000));
}

TEST(ForeignTime, IsSharedByTheTextsOfOneRequest) {
  const ForeignLimits whole = foreign_limits();
  {
    const ForeignArrival arrival;
    const ForeignTime time(arrival);
    EXPECT_EQ(foreign_limits().reading.used, milliseconds(0));
    const auto busy = read_foreign([](const Fence&) {
      const auto begin = processor_time_of_thread();
      while (processor_time_of_thread() - begin < milliseconds(30)) {
      }
    });
    EXPECT_TRUE(busy);
    EXPECT_GE(foreign_limits().reading.used, milliseconds(29));
    EXPECT_LT(*foreign_limits().reading.longest, milliseconds(2500));
  }
  EXPECT_EQ(foreign_limits().reading.used, whole.reading.used) << "another request has its own";
}

}  // namespace
}  // namespace brimful::foreign
