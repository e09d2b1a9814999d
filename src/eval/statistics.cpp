#include "eval/statistics.h"

#include <algorithm>
#include <cmath>

namespace brimful::eval {
namespace {

// So many tokens must be exceeded (or reached, for a covariance) before an error is told.
constexpr std::size_t kFewTokens = 10;

Estimate mean(double sum, double squares, std::size_t count) {
  if (count < 1) return {};
  const auto n = static_cast<double>(count);
  const double value = sum / n;
  const double variance = squares / n - value * value;
  return {value, variance > 0 && count > kFewTokens ? std::sqrt(variance / (n - 1)) : 0.0};
}

double covariance(double sum_a, double sum_b, double products, std::size_t count) {
  if (count < kFewTokens) return 0;
  const auto n = static_cast<double>(count);
  return (products / n - (sum_a / n) * (sum_b / n)) / (n - 1);
}

double error_of_difference(double a, double b, double common) {
  return std::sqrt(a * a + b * b - 2.0 * common);
}

Estimate exponential(const Estimate& log) {
  const double value = std::exp(log.value);
  return {value, value * log.error};
}

Estimate log_perplexity(const DivergenceSums& s) { return mean(s.nll, s.nll_squares, s.tokens); }
Estimate log_reference(const DivergenceSums& s) {
  return mean(s.nll_reference, s.nll_reference_squares, s.tokens);
}
double log_covariance(const DivergenceSums& s) {
  return covariance(s.nll, s.nll_reference, s.nll_products, s.tokens);
}

}  // namespace

double PerplexitySums::perplexity() const { return std::exp(nll / static_cast<double>(tokens)); }

std::optional<double> PerplexitySums::error() const {
  const auto n = static_cast<double>(tokens);
  const double log = nll / n;
  const double variance = nll_squares / n - log * log;
  if (!(variance > 0)) return std::nullopt;
  return std::sqrt(variance / (n - 1)) * std::exp(log);
}

void DivergenceSums::add(const Divergence& token) {
  nll += token.nll;
  nll_squares += token.nll * token.nll;
  nll_reference += token.nll_reference;
  nll_reference_squares += token.nll_reference * token.nll_reference;
  nll_products += token.nll * token.nll_reference;
  kl += token.kl;
  kl_squares += token.kl * token.kl;
  p_difference += token.p_difference;
  const double square = token.p_difference * token.p_difference;
  p_difference_squares += square;
  p_difference_fourths += square * square;
  same_top += token.same_top ? 1 : 0;
  ++tokens;
}

DivergenceSummary summary_of(const DivergenceSums& s) {
  DivergenceSummary out;
  const Estimate log = log_perplexity(s);
  const Estimate reference = log_reference(s);
  out.perplexity = exponential(log);
  out.log_ratio = {log.value - reference.value,
                   error_of_difference(log.error, reference.error, log_covariance(s))};
  out.kl = mean(s.kl, s.kl_squares, s.tokens);
  const Estimate square = mean(s.p_difference_squares, s.p_difference_fourths, s.tokens);
  out.p_difference_rms.value = std::sqrt(square.value);
  out.p_difference_rms.error = 0.5 / out.p_difference_rms.value * square.error;
  const auto n = static_cast<double>(s.tokens);
  const double top = static_cast<double>(s.same_top) / n;
  out.same_top = {top, std::sqrt(top * (1 - top) / (n - 1))};
  return out;
}

DivergenceReport report_of(const DivergenceSums& s) {
  DivergenceReport out{.summary = summary_of(s)};
  const Estimate log = log_perplexity(s);
  const Estimate reference = log_reference(s);
  const double common = log_covariance(s);
  out.reference_perplexity = exponential(reference);
  out.correlation = common / (log.error * reference.error);
  out.ratio = exponential(out.summary.log_ratio);
  const Estimate& perplexity = out.summary.perplexity;
  out.difference = {perplexity.value - out.reference_perplexity.value,
                    error_of_difference(perplexity.error, out.reference_perplexity.error,
                                        perplexity.value * out.reference_perplexity.value * common)};
  out.p_difference = mean(s.p_difference, s.p_difference_squares, s.tokens);
  return out;
}

float percentile(std::span<const float> sorted, float fraction) {
  if (fraction <= 0) return sorted.front();
  if (fraction >= 1) return sorted.back();
  float place = fraction * static_cast<float>(sorted.size() - 1);
  const auto below = static_cast<std::size_t>(place);
  place -= static_cast<float>(below);
  return (1 - place) * sorted[below] + place * sorted[std::min(below + 1, sorted.size() - 1)];
}

float median(std::span<const float> sorted) {
  const std::size_t middle = sorted.size() / 2;
  if (sorted.size() % 2 == 1) return sorted[middle];
  return 0.5F * (sorted[middle] + sorted[middle - 1]);
}

}  // namespace brimful::eval
