#include "eval/log_probabilities.h"

#include <gtest/gtest.h>

#include <cmath>
#include <vector>

namespace brimful::eval {
namespace {

const std::vector<float> kLogits{1.0F, 3.0F, -2.0F, 0.5F, 2.5F};

TEST(LogProbabilities, AreThoseOfASoftmax) {
  double sum = 0;
  for (const float logit : kLogits) sum += std::exp(static_cast<double>(logit));
  for (std::size_t i = 0; i < kLogits.size(); ++i)
    EXPECT_NEAR(negative_log_likelihood(kLogits, static_cast<llama_token>(i)), std::log(sum) - kLogits[i],
                1e-6);
}

TEST(LogProbabilities, PackedOnesAreNearlyTheSame) {
  std::vector<std::uint16_t> packed(packed_words(kLogits.size()));
  const double nll = pack_log_probabilities(kLogits, 4, packed);
  EXPECT_NEAR(nll, negative_log_likelihood(kLogits, 4), 1e-6);
  const Divergence same = divergence(kLogits, packed, 4);
  EXPECT_NEAR(same.kl, 0, 1e-4);
  EXPECT_NEAR(same.nll, same.nll_reference, 1e-4);
  EXPECT_NEAR(same.p_difference, 0, 1e-4);
  EXPECT_TRUE(same.same_top);
}

TEST(LogProbabilities, AnotherModelDiverges) {
  std::vector<std::uint16_t> packed(packed_words(kLogits.size()));
  pack_log_probabilities(kLogits, 0, packed);
  const std::vector<float> other{1.0F, 2.0F, -2.0F, 0.5F, 2.5F};
  const Divergence found = divergence(other, packed, 1);
  // The definition: the sum of p * (ln p - ln q).
  double expected = 0;
  for (llama_token i = 0; i < 5; ++i) {
    const double p = -negative_log_likelihood(kLogits, i);
    const double q = -negative_log_likelihood(other, i);
    expected += std::exp(p) * (p - q);
  }
  EXPECT_NEAR(found.kl, expected, 1e-4);
  EXPECT_FALSE(found.same_top);
  EXPECT_LT(found.p_difference, 0);
}

TEST(LogProbabilities, EqualLogitsPackToAUniformDistribution) {
  const std::vector<float> flat(6, 2.0F);
  std::vector<std::uint16_t> packed(packed_words(flat.size()));
  EXPECT_NEAR(pack_log_probabilities(flat, 3, packed), std::log(6.0), 1e-6);
  EXPECT_NEAR(divergence(flat, packed, 3).kl, 0, 1e-6);
}

}  // namespace
}  // namespace brimful::eval
