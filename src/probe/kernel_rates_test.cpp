#include "probe/kernel_rates.h"

#include <gtest/gtest.h>

#include "tier/layout/file_order.h"

namespace brimful::probe {
namespace {

/// The rates of little work, so that they take seconds: they are checked for sense, not for size.
TEST(KernelBench, EveryKindOfTypeHasRates) {
  const auto bench = KernelBench::create(1, Bytes{64} * kMiB.value);
  ASSERT_TRUE(bench) << bench.error().message;
  // Without a scale, rearranged, with large tables, with exponents as scales.
  for (const ggml_type type : {GGML_TYPE_F16, GGML_TYPE_Q4_K, GGML_TYPE_IQ1_S, GGML_TYPE_MXFP4}) {
    const auto rate = (*bench)->measure(type, std::chrono::milliseconds{0});
    ASSERT_TRUE(rate) << ggml_type_name(type) << ": " << rate.error().message;
    EXPECT_EQ(rate->type, ggml_type_name(type));
    for (const double one : {rate->decode_bytes_per_s, rate->expert_decode_bytes_per_s})
      EXPECT_TRUE(one > 1e7 && one < 1e12) << rate->type << ": " << one;
    for (const double one : {rate->batch_multiplications_per_s, rate->prompt_multiplications_per_s,
                             rate->expert_multiplications_per_s})
      EXPECT_TRUE(one > 1e8 && one < 1e13) << rate->type << ": " << one;
    for (const double share : {rate->short_rows_decode, rate->short_rows_batch})
      EXPECT_TRUE(share >= 0.25 && share <= 1) << rate->type << ": " << share;
    EXPECT_TRUE(!rate->repack_bytes_per_s || *rate->repack_bytes_per_s > 1e6) << rate->type;
    EXPECT_EQ(rate->file_order_decode_bytes_per_s.has_value(), rate->repack_bytes_per_s.has_value());
    EXPECT_TRUE(!rate->turn_back_bytes_per_s || *rate->turn_back_bytes_per_s > 1e7) << rate->type;
    EXPECT_EQ(rate->turn_back_bytes_per_s.has_value(),
              rate->repack_bytes_per_s.has_value() && tier::can_turn_back(type));
  }
}

}  // namespace
}  // namespace brimful::probe
