#include "eval/statistics.h"

#include <gtest/gtest.h>

#include <cmath>

namespace brimful::eval {
namespace {

TEST(Statistics, APerplexityHasAnErrorWhereTokensDiffer) {
  PerplexitySums sums;
  for (int i = 0; i < 100; ++i) sums.add(i % 2 == 0 ? 1.0 : 3.0);
  EXPECT_NEAR(sums.perplexity(), std::exp(2.0), 1e-12);
  ASSERT_TRUE(sums.error());
  EXPECT_NEAR(*sums.error(), std::exp(2.0) / std::sqrt(99.0), 1e-12);
  PerplexitySums same;
  for (int i = 0; i < 3; ++i) same.add(2.0);
  EXPECT_FALSE(same.error());
}

TEST(Statistics, OfAReferenceThatIsTheModelAreExactlyNoDifference) {
  DivergenceSums sums;
  for (int i = 0; i < 200; ++i)
    sums.add({.nll = 1.0F + static_cast<float>(i % 7),
              .nll_reference = 1.0F + static_cast<float>(i % 7),
              .same_top = true});
  const DivergenceReport report = report_of(sums);
  EXPECT_EQ(report.summary.log_ratio.value, 0);
  EXPECT_NEAR(report.correlation, 1, 1e-9);
  EXPECT_EQ(report.difference.value, 0);
  EXPECT_EQ(report.summary.same_top.value, 1);
  EXPECT_EQ(report.summary.same_top.error, 0);
}

TEST(Statistics, PercentilesLieBetweenTheirNeighbours) {
  const std::vector<float> values{0, 10, 20, 30};
  EXPECT_EQ(percentile(values, 0), 0);
  EXPECT_EQ(percentile(values, 1), 30);
  EXPECT_FLOAT_EQ(percentile(values, 0.5F), 15);
  EXPECT_EQ(median(values), 15);
  EXPECT_EQ(median(std::span(values).first(3)), 10);
}

}  // namespace
}  // namespace brimful::eval
