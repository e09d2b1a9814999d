#include "cli/fit_choice.h"

#include <fmt/format.h>

#include <algorithm>

#include "base/visible_text.h"

namespace brimful::cli {
namespace {

// F16 and BF16 keep what a model was trained with; F32 keeps no more of it.
constexpr double kFullQuality = 15.5;

double quality_of(const FitRow& row) { return std::min(row.bits_per_weight, kFullQuality); }

std::string bytes_or_none(const std::optional<Bytes>& bytes) { return bytes ? format_bytes(*bytes) : "-"; }

std::string remark_of(const FitRow& row, bool chosen) {
  if (chosen) return "chosen";
  if (!row.why.empty()) return row.why;
  switch (row.verdict) {
    case FitVerdict::kNotPlanned:
    case FitVerdict::kOther: return {};
    case FitVerdict::kGood: return "fits, too";
    case FitVerdict::kDoesNotFit: return "does not fit";
    case FitVerdict::kFromDisk: return "reads from the disk";
    case FitVerdict::kTooSlow: return "too slow";
  }
  return {};
}

}  // namespace

void sort_by_quality(std::vector<FitRow>& rows) {
  std::ranges::stable_sort(rows, [](const FitRow& a, const FitRow& b) {
    if (quality_of(a) != quality_of(b)) return quality_of(a) > quality_of(b);
    return a.size < b.size;
  });
}

std::string fit_table(const std::vector<FitRow>& rows, std::optional<std::size_t> chosen) {
  const bool has_vram =
      std::ranges::any_of(rows, [](const FitRow& row) { return row.vram.value_or(Bytes{}) > Bytes{}; });
  std::size_t width = 12;
  for (const FitRow& row : rows) {
    if (row.verdict != FitVerdict::kNotPlanned) width = std::max(width, visible_text(row.tag).size());
  }
  const std::string vram = has_vram ? fmt::format("  {:>11}", "VRAM") : "";
  std::string out = fmt::format("  {:<{}}  {:>11}  {:>11}{}  {:>11}  {:>14}  {:>8}\n", "quantization", width,
                                "size", "bits/weight", vram, "RAM", "disk per token", "tokens/s");
  for (std::size_t i = 0; i < rows.size(); ++i) {
    const FitRow& row = rows[i];
    if (row.verdict == FitVerdict::kNotPlanned) continue;
    const std::string held = has_vram ? fmt::format("  {:>11}", bytes_or_none(row.vram)) : "";
    const std::string speed = row.tokens_per_s ? fmt::format("{:.1f}", *row.tokens_per_s) : "-";
    out += fmt::format("{} {:<{}}  {:>11}  {:>11.2f}{}  {:>11}  {:>14}  {:>8}  {}\n", i == chosen ? '>' : ' ',
                       visible_text(row.tag), width, format_bytes(row.size), row.bits_per_weight, held,
                       bytes_or_none(row.ram), bytes_or_none(row.reads_per_token), speed,
                       remark_of(row, i == chosen));
  }
  return out;
}

nlohmann::ordered_json fit_json(const std::vector<FitRow>& rows, std::optional<std::size_t> chosen) {
  using Json = nlohmann::ordered_json;
  Json out{{"chosen", chosen ? Json(rows[*chosen].tag) : Json(nullptr)}, {"models", Json::array()}};
  for (const FitRow& row : rows) {
    Json one{{"tag", row.tag},
             {"file", row.file},
             {"bytes", row.size.value},
             {"bits_per_weight", row.bits_per_weight},
             {"verdict", to_string(row.verdict)}};
    if (!row.why.empty()) one["why"] = row.why;
    if (row.vram) one["vram_bytes"] = row.vram->value;
    if (row.ram) one["ram_bytes"] = row.ram->value;
    if (row.reads_per_token) one["read_bytes_per_token"] = row.reads_per_token->value;
    if (row.tokens_per_s) one["decode_tokens_per_second"] = *row.tokens_per_s;
    if (row.prompt_tokens_per_s) one["prompt_tokens_per_second"] = *row.prompt_tokens_per_s;
    out["models"].push_back(std::move(one));
  }
  return out;
}

const char* to_string(FitVerdict verdict) {
  switch (verdict) {
    case FitVerdict::kNotPlanned: return "not planned";
    case FitVerdict::kGood: return "good";
    case FitVerdict::kDoesNotFit: return "does not fit";
    case FitVerdict::kFromDisk: return "reads from the disk";
    case FitVerdict::kTooSlow: return "too slow";
    case FitVerdict::kOther: return "other";
  }
  return "other";
}

}  // namespace brimful::cli
