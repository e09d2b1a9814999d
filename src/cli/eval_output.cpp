#include "cli/eval_output.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <limits>
#include <string_view>

namespace brimful::cli {
namespace {

using eval::Estimate;

constexpr std::size_t kFewTokens = 100;

struct Line {
  const char* name;
  const char* key;
  float share;
};
// Names as llama-perplexity writes them. A share of 1 is the largest value, 0.5 the median, 0 the smallest.
constexpr std::array kDivergenceLines{
    Line{"Maximum", "maximum", 1.0F}, Line{"99.9%  ", "p99.9", 0.999F}, Line{"99.0%  ", "p99", 0.990F},
    Line{"95.0%  ", "p95", 0.950F},   Line{"90.0%  ", "p90", 0.900F},   Line{"Median ", "median", 0.5F},
    Line{"10.0%  ", "p10", 0.100F},   Line{" 5.0%  ", "p5", 0.050F},    Line{" 1.0%  ", "p1", 0.010F},
    Line{" 0.1%  ", "p0.1", 0.001F},  Line{"Minimum", "minimum", 0.0F}};
constexpr std::array kDifferenceLines{
    Line{"Maximum", "maximum", 1.0F}, Line{"99.9%  ", "p99.9", 0.999F}, Line{"99.0%  ", "p99", 0.990F},
    Line{"95.0%  ", "p95", 0.950F},   Line{"90.0%  ", "p90", 0.900F},   Line{"75.0%  ", "p75", 0.750F},
    Line{"Median ", "median", 0.5F},  Line{"25.0%  ", "p25", 0.250F},   Line{"10.0%  ", "p10", 0.100F},
    Line{" 5.0%  ", "p5", 0.050F},    Line{" 1.0%  ", "p1", 0.010F},    Line{" 0.1%  ", "p0.1", 0.001F},
    Line{"Minimum", "minimum", 0.0F}};

float value_at(std::span<const float> sorted, float share) {
  return share == 0.5F ? eval::median(sorted) : eval::percentile(sorted, share);
}

std::string with_error(std::string_view name, const Estimate& estimate) {
  return fmt::format("{:<30}: {:10.6f} ± {:10.6f}\n", name, estimate.value, estimate.error);
}

nlohmann::ordered_json number(double value) {
  return std::isfinite(value) ? nlohmann::ordered_json(value) : nlohmann::ordered_json(nullptr);
}

nlohmann::ordered_json with_error(const Estimate& estimate) {
  return {{"value", number(estimate.value)}, {"error", number(estimate.error)}};
}

template <std::size_t N>
void add_percentiles(nlohmann::ordered_json& json, const std::array<Line, N>& lines,
                     std::span<const float> sorted) {
  for (const Line& line : lines) json[line.key] = number(value_at(sorted, line.share));
}

void sort(TokenValues& values) {
  std::ranges::sort(values.kl);
  std::ranges::sort(values.p_difference);
}

}  // namespace

std::string perplexity_of_chunk(std::uint32_t chunk, const eval::PerplexitySums& sums) {
  return fmt::format("[{}]{:.4f},", chunk + 1, sums.perplexity());
}

std::string final_perplexity(const eval::PerplexitySums& sums) {
  const auto error = sums.error();
  if (!error)
    return fmt::format("Final estimate: PPL = {:.4f} (its error is too small to be computed)\n",
                       sums.perplexity());
  return fmt::format("Final estimate: PPL = {:.4f} +/- {:.5f}\n", sums.perplexity(), *error);
}

std::string divergence_heading() {
  return "chunk             PPL               ln(PPL(Q)/PPL(base))          KL Divergence              Δp "
         "RMS     "
         "       Same top p\n";
}

std::string divergence_of_chunk(std::uint32_t chunk, const eval::DivergenceSums& sums) {
  const eval::DivergenceSummary now = eval::summary_of(sums);
  return fmt::format(
      "{:4}    {:9.4f} ± {:9.4f}    {:10.5f} ± {:10.5f}    {:10.5f} ± {:10.5f}    {:6.3f} ± {:6.3f} %    "
      "{:6.3f} ± "
      "{:6.3f} %\n",
      chunk + 1, now.perplexity.value, now.perplexity.error, now.log_ratio.value, now.log_ratio.error,
      now.kl.value, now.kl.error, 100 * now.p_difference_rms.value, 100 * now.p_difference_rms.error,
      100 * now.same_top.value, 100 * now.same_top.error);
}

std::string divergence_text(const eval::DivergenceSums& sums, TokenValues& values) {
  if (sums.tokens < kFewTokens) return {};
  sort(values);
  const eval::DivergenceReport all = eval::report_of(sums);
  std::string out = "====== Perplexity statistics ======\n";
  out += with_error("Mean PPL(Q)", all.summary.perplexity);
  out += with_error("Mean PPL(base)", all.reference_perplexity);
  out += fmt::format("Cor(ln(PPL(Q)), ln(PPL(base))): {:6.2f}%\n", 100 * all.correlation);
  out += with_error("Mean ln(PPL(Q)/PPL(base))", all.summary.log_ratio);
  out += with_error("Mean PPL(Q)/PPL(base)", all.ratio);
  out += with_error("Mean PPL(Q)-PPL(base)", all.difference);
  out += "\n====== KL divergence statistics ======\n";
  out += fmt::format("Mean    KLD: {:10.6f} ± {:10.6f}\n", all.summary.kl.value, all.summary.kl.error);
  for (const Line& line : kDivergenceLines)
    out += fmt::format("{} KLD: {:10.6f}\n", line.name, value_at(values.kl, line.share));
  out += "\n====== Token probability statistics ======\n";
  out += fmt::format("Mean    Δp: {:6.3f} ± {:5.3f} %\n", 100 * all.p_difference.value,
                     100 * all.p_difference.error);
  for (const Line& line : kDifferenceLines)
    out += fmt::format("{} Δp: {:6.3f}%\n", line.name, 100.0 * value_at(values.p_difference, line.share));
  out += fmt::format("RMS Δp    : {:6.3f} ± {:5.3f} %\n", 100 * all.summary.p_difference_rms.value,
                     100 * all.summary.p_difference_rms.error);
  out += fmt::format("Same top p: {:6.3f} ± {:5.3f} %\n", 100 * all.summary.same_top.value,
                     100 * all.summary.same_top.error);
  return out;
}

nlohmann::ordered_json perplexity_json(const eval::PerplexitySums& sums) {
  constexpr double kUnknown = std::numeric_limits<double>::quiet_NaN();
  return with_error(Estimate{sums.perplexity(), sums.error().value_or(kUnknown)});
}

nlohmann::ordered_json divergence_json(const eval::DivergenceSums& sums, TokenValues& values) {
  sort(values);
  const eval::DivergenceReport all = eval::report_of(sums);
  nlohmann::ordered_json json;
  json["perplexity"] = with_error(all.summary.perplexity);
  json["reference_perplexity"] = with_error(all.reference_perplexity);
  json["correlation"] = number(all.correlation);
  json["log_ratio"] = with_error(all.summary.log_ratio);
  json["ratio"] = with_error(all.ratio);
  json["difference"] = with_error(all.difference);
  json["kl_divergence"] = with_error(all.summary.kl);
  json["p_difference"] = with_error(all.p_difference);
  if (sums.tokens >= kFewTokens) {
    add_percentiles(json["kl_divergence"], kDivergenceLines, values.kl);
    add_percentiles(json["p_difference"], kDifferenceLines, values.p_difference);
  }
  json["p_difference_rms"] = with_error(all.summary.p_difference_rms);
  json["same_top"] = with_error(all.summary.same_top);
  return json;
}

}  // namespace brimful::cli
