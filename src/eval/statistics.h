#pragma once

#include <cstddef>
#include <optional>
#include <span>
#include <vector>

#include "eval/log_probabilities.h"

/// The statistics of many tokens, computed as llama-perplexity computes them. Pure.
namespace brimful::eval {

/// A mean, and its standard error.
struct Estimate {
  double value = 0;
  double error = 0;
};

/// The sums behind a perplexity. Tokens are added in the order of the text, so the sums do not depend on the
/// number of threads.
struct PerplexitySums {
  double nll = 0;
  double nll_squares = 0;
  std::size_t tokens = 0;

  void add(double token_nll) {
    nll += token_nll;
    nll_squares += token_nll * token_nll;
    ++tokens;
  }
  /// e to the mean negative log-likelihood. Its error is unset where rounding has made the variance negative.
  [[nodiscard]] double perplexity() const;
  [[nodiscard]] std::optional<double> error() const;
};

/// The sums behind a comparison with a reference.
struct DivergenceSums {
  double nll = 0, nll_squares = 0;
  double nll_reference = 0, nll_reference_squares = 0;
  double nll_products = 0;
  double kl = 0, kl_squares = 0;
  double p_difference = 0, p_difference_squares = 0, p_difference_fourths = 0;
  std::size_t same_top = 0;
  std::size_t tokens = 0;

  void add(const Divergence& token);
};

/// What is known of a comparison after each chunk.
struct DivergenceSummary {
  Estimate perplexity;
  Estimate log_ratio;  ///< ln(perplexity / perplexity of the reference)
  Estimate kl;
  Estimate p_difference_rms;  ///< 0..1
  Estimate same_top;          ///< 0..1
};
[[nodiscard]] DivergenceSummary summary_of(const DivergenceSums& sums);

/// The whole comparison. Percentiles of less than 100 tokens say nothing, and are left out then.
struct DivergenceReport {
  DivergenceSummary summary;
  Estimate reference_perplexity;
  double correlation = 0;  ///< Of the logarithms of both perplexities, 0..1.
  Estimate ratio;          ///< perplexity / perplexity of the reference
  Estimate difference;     ///< perplexity - perplexity of the reference
  Estimate p_difference;   ///< 0..1
};
[[nodiscard]] DivergenceReport report_of(const DivergenceSums& sums);

/// The value below which the share `fraction` (0..1) of the values lies. Requires: `sorted` is sorted, and
/// not empty.
[[nodiscard]] float percentile(std::span<const float> sorted, float fraction);
/// The value in the middle. Requires: as percentile().
[[nodiscard]] float median(std::span<const float> sorted);

}  // namespace brimful::eval
