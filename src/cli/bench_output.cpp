#include "cli/bench_output.h"

#include <fmt/format.h>
#include <llama.h>

#include <algorithm>
#include <charconv>
#include <cmath>
#include <nlohmann/json.hpp>
#include <numeric>
#include <sstream>
#include <string_view>

namespace brimful::cli {
namespace {

constexpr std::uint32_t kLargestNumber = 1U << 30;
constexpr std::size_t kLongestList = 1024;

struct Statistics {
  double mean = 0;
  double deviation = 0;
};

template <typename T>
Statistics statistics(const std::vector<T>& samples) {
  if (samples.empty()) return {};
  const auto n = static_cast<double>(samples.size());
  const double mean = std::accumulate(samples.begin(), samples.end(), 0.0) / n;
  if (samples.size() < 2) return {mean, 0};
  double squares = 0;
  for (const T sample : samples)
    squares += (static_cast<double>(sample) - mean) * (static_cast<double>(sample) - mean);
  return {mean, std::sqrt(squares / (n - 1))};
}

/// All fields but the lists of samples, in their order.
nlohmann::ordered_json fields_of(const BenchResult& r) {
  const Statistics ns = statistics(r.samples_ns);
  const Statistics ts = statistics(r.tokens_per_second());
  nlohmann::ordered_json out;
  out["build_commit"] = std::string("llama.cpp ") + llama_version();
  out["cpu_info"] = r.cpu_info;
  out["gpu_info"] = r.gpu_info;
  out["backends"] = r.backends;
  out["model_filename"] = r.model_filename;
  out["model_type"] = r.model_type;
  out["model_size"] = r.model_size;
  out["model_n_params"] = r.model_n_params;
  out["n_batch"] = r.n_batch;
  out["n_ubatch"] = r.n_ubatch;
  out["n_threads"] = r.n_threads;
  out["type_k"] = r.type_k;
  out["type_v"] = r.type_v;
  out["n_prompt"] = r.n_prompt;
  out["n_gen"] = r.n_gen;
  out["n_depth"] = r.n_depth;
  out["test_time"] = r.test_time;
  out["avg_ns"] = static_cast<std::uint64_t>(ns.mean);
  out["stddev_ns"] = static_cast<std::uint64_t>(ns.deviation);
  out["avg_ts"] = ts.mean;
  out["stddev_ts"] = ts.deviation;
  out["n_seqs"] = r.n_seqs;
  out["ram_budget_bytes"] = r.ram_budget.value;
  out["ram_peak_bytes"] =
      r.ram_peak ? nlohmann::ordered_json(r.ram_peak->value) : nlohmann::ordered_json(nullptr);
  out["disk_bytes_per_token"] = r.disk_bytes_per_token();
  return out;
}

std::string json_text(const nlohmann::ordered_json& json, int indent) {
  return json.dump(indent, ' ', false, nlohmann::json::error_handler_t::replace);
}

std::string csv_row(const nlohmann::ordered_json& fields) {
  std::string out;
  for (const auto& field : fields) {
    std::string text = field.is_string() ? field.get<std::string>() : field.is_null() ? "" : field.dump();
    for (std::size_t at = 0; (at = text.find('"', at)) != std::string::npos; at += 2) text.insert(at, 1, '"');
    out += fmt::format("{}\"{}\"", out.empty() ? "" : ",", text);
  }
  return out + "\n";
}

std::string size_text(std::uint64_t bytes) {
  constexpr double kMega = 1024.0 * 1024.0;
  const auto value = static_cast<double>(bytes) / kMega;
  return value < 1024 ? fmt::format("{:.2f} MiB", value) : fmt::format("{:.2f} GiB", value / 1024);
}

std::string parameters_text(std::uint64_t count) {
  const auto value = static_cast<double>(count);
  return value < 1e9 ? fmt::format("{:.2f} M", value / 1e6) : fmt::format("{:.2f} B", value / 1e9);
}

std::string markdown_row(const BenchResult& r) {
  const Statistics ts = statistics(r.tokens_per_second());
  return fmt::format(
      "| {:<30} | {:>10} | {:>10} | {:<10} | {:>7} | {:>15} | {:>20} | {:>10} | {:>10} | {:>12} |\n",
      r.model_type, size_text(r.model_size), parameters_text(r.model_n_params), r.backends, r.n_threads,
      r.test(), fmt::format("{:.2f} ± {:.2f}", ts.mean, ts.deviation), size_text(r.ram_budget.value),
      r.ram_peak ? size_text(r.ram_peak->value) : "unknown",
      size_text(static_cast<std::uint64_t>(r.disk_bytes_per_token())));
}

bool read_number(std::string_view& text, std::uint32_t& number) {
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  if (error != std::errc{} || end == text.data() || number > kLargestNumber) return false;
  text.remove_prefix(static_cast<std::size_t>(end - text.data()));
  return true;
}

/// Appends a number or a range. Returns whether it is one.
bool add_range(std::string_view text, std::vector<std::uint32_t>& out) {
  std::uint32_t first = 0;
  if (!read_number(text, first)) return false;
  std::uint32_t last = first;
  if (text.starts_with('-')) {
    text.remove_prefix(1);
    if (!read_number(text, last)) return false;
  }
  std::uint32_t step = 1;
  const char kind = text.empty() ? '+' : text.front();
  if (!text.empty()) {
    text.remove_prefix(1);
    if ((kind != '+' && kind != '*') || !read_number(text, step)) return false;
  }
  if (!text.empty() || last < first || step == 0 || (kind == '*' && (step < 2 || first == 0))) return false;
  for (std::uint64_t at = first; at <= last; at = kind == '*' ? at * step : at + step) {
    if (out.size() == kLongestList) return false;
    out.push_back(static_cast<std::uint32_t>(at));
  }
  return true;
}

}  // namespace

double BenchResult::disk_bytes_per_token() const {
  const std::uint64_t all = tokens() * samples_ns.size();
  return all > 0 ? static_cast<double>(disk_read.value) / static_cast<double>(all) : 0;
}

std::vector<double> BenchResult::tokens_per_second() const {
  std::vector<double> out;
  for (const std::uint64_t ns : samples_ns)
    out.push_back(1e9 * static_cast<double>(tokens()) / static_cast<double>(std::max<std::uint64_t>(ns, 1)));
  return out;
}

std::string BenchResult::test() const {
  std::string out = n_prompt > 0 ? fmt::format("pp{}", n_prompt) : "";
  if (n_gen > 0) out += fmt::format("{}tg{}", out.empty() ? "" : "+", n_gen);
  if (n_seqs > 1) out += fmt::format(" x{}", n_seqs);
  if (n_depth > 0) out += fmt::format(" @ d{}", n_depth);
  return out;
}

Result<BenchFormat> bench_format(const std::string& name) {
  if (name == "md") return BenchFormat::kMarkdown;
  if (name == "json") return BenchFormat::kJson;
  if (name == "jsonl") return BenchFormat::kJsonLines;
  if (name == "csv") return BenchFormat::kCsv;
  return fail(ErrorCode::kInvalidArgument, fmt::format("-o {}: is not one of md, json, jsonl, csv", name));
}

std::string bench_header(BenchFormat format) {
  switch (format) {
    case BenchFormat::kMarkdown:
      return fmt::format(
          "| {:<30} | {:>10} | {:>10} | {:<10} | {:>7} | {:>15} | {:>20} | {:>10} | {:>10} | {:>12} |\n"
          "| {:-<30} | {:->9}: | {:->9}: | {:-<10} | {:->6}: | {:->14}: | {:->19}: | {:->9}: | {:->9}: | "
          "{:->11}: |\n",
          "model", "size", "params", "backend", "threads", "test", "t/s", "budget", "peak", "disk/token", "",
          "", "", "", "", "", "", "", "", "");
    case BenchFormat::kJson: return "[";
    case BenchFormat::kJsonLines: return "";
    case BenchFormat::kCsv: {
      std::string out;
      const nlohmann::ordered_json fields = fields_of({});
      for (const auto& [name, value] : fields.items()) out.append(out.empty() ? "" : ",").append(name);
      return out + "\n";
    }
  }
  return "";
}

std::string bench_row(BenchFormat format, const BenchResult& result, bool first) {
  if (format == BenchFormat::kMarkdown) return markdown_row(result);
  nlohmann::ordered_json fields = fields_of(result);
  if (format == BenchFormat::kCsv) return csv_row(fields);
  fields["samples_ns"] = result.samples_ns;
  fields["samples_ts"] = result.tokens_per_second();
  if (format == BenchFormat::kJsonLines) return json_text(fields, -1) + "\n";
  return fmt::format("{}{}", first ? "\n" : ",\n", json_text(fields, 2));
}

std::string bench_footer(BenchFormat format) { return format == BenchFormat::kJson ? "\n]\n" : ""; }

Result<std::vector<std::uint32_t>> bench_numbers(const std::string& flag, const std::string& text) {
  std::vector<std::uint32_t> out;
  std::istringstream in(text);
  for (std::string part; std::getline(in, part, ',');) {
    if (add_range(part, out)) continue;
    return fail(ErrorCode::kInvalidArgument,
                fmt::format("{} {}: give numbers separated by commas, or ranges such as 1-8, 1-9+2 or 1-64*2",
                            flag, text));
  }
  if (!out.empty()) return out;
  return fail(ErrorCode::kInvalidArgument, fmt::format("{}: give at least one number", flag));
}

}  // namespace brimful::cli
