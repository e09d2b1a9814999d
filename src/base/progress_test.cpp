#include "base/progress.h"

#include <gtest/gtest.h>

namespace brimful {
namespace {

TEST(ProgressTextTest, ShowsPercentRateAndTimeLeft) {
  EXPECT_EQ(progress_text("writing", kGiB, kGiB * 4, std::chrono::seconds(2)),
            "writing  25%  1.00 GiB of 4.00 GiB  512.0 MiB/s  6 s left");
  EXPECT_EQ(progress_text("writing", Bytes{}, kGiB, std::chrono::seconds(0)),
            "writing   0%  0 B of 1.00 GiB");
}

TEST(ProgressTextTest, WhatWasThereBeforeSaysNothingAboutTheRate) {
  EXPECT_EQ(progress_text("fetching", kMiB * 600, kMiB * 1000, std::chrono::seconds(10), kMiB * 500),
            "fetching  60%  600.0 MiB of 1000.0 MiB  10.0 MiB/s  40 s left");
}

TEST(ProgressBarTest, DrawsNothingWhereStderrIsNoTerminal) {
  testing::internal::CaptureStderr();
  {
    ProgressBar bar("writing", kGiB);
    bar.update(kMiB);
    bar.finish();
  }
  EXPECT_EQ(testing::internal::GetCapturedStderr(), "");
}

}  // namespace
}  // namespace brimful
