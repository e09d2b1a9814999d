#include "engine/expert_heat_file.h"

#include <fmt/format.h>

#include <algorithm>
#include <fstream>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <vector>

#include "base/json_text.h"
#include "base/replace_file.h"
#include "model/header_fingerprint.h"

namespace brimful::engine {
namespace {

namespace fs = std::filesystem;
using nlohmann::ordered_json;

constexpr int kVersion = 1;
constexpr std::size_t kLargestFile = 1 << 20;  // bytes
// No expert is worth more: a use counts half after 64 steps.
constexpr double kMostWorth = 1000;

std::unexpected<Error> damaged(const fs::path& file) {
  return fail(
      ErrorCode::kCorrupt,
      fmt::format("{} is damaged: which experts were used before is not known; the next run writes it "
                  "again",
                  file.string()));
}

/// The worth of the experts of one group; nothing where `json` is not a list of such numbers.
std::optional<std::vector<float>> group_of(const ordered_json& json) {
  if (!json.is_array()) return std::nullopt;
  std::vector<float> out;
  for (const ordered_json& number : json) {
    if (!number.is_number()) return std::nullopt;
    const auto worth = number.get<double>();
    if (!(worth >= 0 && worth <= kMostWorth)) return std::nullopt;
    out.push_back(static_cast<float>(worth));
  }
  return out;
}

}  // namespace

Result<tier::ExpertHeat> ExpertHeatFile::read(const model::ModelProfile& profile) {
  tier::ExpertHeat out;
  if (profile.experts_used == 0) return out;
  BRIMFUL_TRY(const std::string fingerprint, model::header_fingerprint(profile.files));
  file_ = folder_ / (fingerprint + ".json");
  std::ifstream in(file_, std::ios::binary);
  if (!in) return out;
  std::string text(kLargestFile + 1, '\0');
  in.read(text.data(), static_cast<std::streamsize>(text.size()));
  text.resize(static_cast<std::size_t>(in.gcount()));
  if (text.size() > kLargestFile) return damaged(file_);
  const auto json = parse_ordered_json(text);
  if (!json || !json->is_object() || json->value("version", ordered_json()) != kVersion)
    return damaged(file_);
  const ordered_json groups = json->value("experts", ordered_json());
  if (!groups.is_object()) return damaged(file_);
  for (const auto& [name, numbers] : groups.items()) {
    auto group = group_of(numbers);
    if (!group) return damaged(file_);
    out.emplace(name, std::move(*group));
  }
  return out;
}

Status ExpertHeatFile::write(const tier::ExpertHeat& heat) const {
  const bool used = std::ranges::any_of(heat, [](const auto& group) {
    return std::ranges::any_of(group.second, [](float worth) { return worth > 0; });
  });
  if (file_.empty() || !used) return {};
  const auto write = [&](std::ostream& out) {
    out << fmt::format(R"({{"version":{},"experts":{{)", kVersion);
    const char* before = "";
    for (const auto& [name, group] : heat) {
      out << before << ordered_json(name).dump() << ":[";
      for (std::size_t i = 0; i < group.size(); ++i)
        out << fmt::format("{}{:.2f}", i == 0 ? "" : ",", std::min<double>(group[i], kMostWorth));
      out << ']';
      before = ",\n";
    }
    out << "}}\n";
  };
  return replace_file(file_, write, Readers::kUser);
}

}  // namespace brimful::engine
