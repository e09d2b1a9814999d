#include "session/forecast.h"

#include <gtest/gtest.h>

namespace brimful::session {
namespace {

TEST(ShownForecast, HasEveryFigureOfThePlans) {
  const plan::Forecast forecast{.decode = {.seconds = 1,
                                           .compute_seconds = 2,
                                           .disk_seconds = 3,
                                           .expert_seconds = 4,
                                           .device_seconds = 5,
                                           .link_seconds = 6,
                                           .reads = Bytes{7}},
                                .decode_tokens_per_second = 8,
                                .prompt = {.seconds = 9, .compute_seconds = 10, .waits_for_ram = true},
                                .prompt_tokens_per_second = 11,
                                .load_seconds = 12,
                                .first_token_seconds = 13};
  const Forecast shown = shown_forecast(forecast, {.sequences = 14, .prompt_tokens = 15});
  EXPECT_EQ(shown.pass.total.count(), 1);
  EXPECT_EQ(shown.pass.compute.count(), 2);
  EXPECT_EQ(shown.pass.disk.count(), 3);
  EXPECT_EQ(shown.pass.experts.count(), 4);
  EXPECT_EQ(shown.pass.gpu.count(), 5);
  EXPECT_EQ(shown.pass.link.count(), 6);
  EXPECT_EQ(shown.pass.read, Bytes{7});
  EXPECT_EQ(shown.pass.bound_by, Bound::kDisk) << "3 and 4 seconds together";
  EXPECT_EQ(shown.answer_tokens_per_second, 8);
  EXPECT_EQ(shown.prompt.total.count(), 9);
  EXPECT_EQ(shown.prompt.compute.count(), 10);
  EXPECT_EQ(shown.prompt.bound_by, Bound::kRam);
  EXPECT_EQ(shown.prompt_tokens_per_second, 11);
  EXPECT_EQ(shown.load.count(), 12);
  EXPECT_EQ(shown.first_token.count(), 13);
  EXPECT_EQ(shown.requests, 14U);
  EXPECT_EQ(shown.prompt_tokens, 15U);
}

TEST(ShownForecast, HasEveryFigureOfAChange) {
  const auto shown = shown_changes({{"what", "note", 1, 2, Bytes{3}}});
  ASSERT_EQ(shown.size(), 1U);
  EXPECT_EQ(shown[0].what, "what");
  EXPECT_EQ(shown[0].note, "note");
  EXPECT_EQ(shown[0].answer_tokens_per_second, 1);
  EXPECT_EQ(shown[0].factor, 2);
  EXPECT_EQ(shown[0].weights, Bytes{3});
}

}  // namespace
}  // namespace brimful::session
