#include "plan/placement_rules.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <memory>
#include <regex>
#include <sstream>

namespace brimful::plan {
namespace {

struct Override {
  std::regex names;
  std::string device;
};

Result<std::vector<Override>> parse_overrides(const std::vector<std::string>& given,
                                              const std::vector<std::string>& devices,
                                              std::string_view name) {
  std::vector<Override> out;
  for (const std::string& text : given) {
    std::istringstream list(text);
    for (std::string one; std::getline(list, one, ',');) {
      const std::size_t equals = one.rfind('=');
      if (equals == std::string::npos || equals + 1 == one.size())
        return fail(ErrorCode::kInvalidArgument, fmt::format("{} {}: write REGEX=DEVICE", name, one));
      const std::string device = one.substr(equals + 1);
      if (device != "CPU" && std::ranges::find(devices, device) == devices.end()) {
        return fail(ErrorCode::kInvalidArgument,
                    fmt::format("{} {}: there is no device '{}' with a budget; choose one of CPU{}{}", name,
                                one, device, devices.empty() ? "" : ", ", fmt::join(devices, ", ")));
      }
      try {
        out.push_back({std::regex(one.substr(0, equals)), device});
      } catch (const std::regex_error& error) {
        return fail(ErrorCode::kInvalidArgument,
                    fmt::format("{} {}: is not a regular expression: {}", name, one, error.what()));
      }
    }
  }
  return out;
}

}  // namespace

Result<PlacementFilter> placement_rules(std::optional<std::uint32_t> gpu_layers,
                                        std::optional<std::uint32_t> cpu_moe_layers,
                                        const std::vector<std::string>& overrides,
                                        const std::vector<std::string>& devices,
                                        std::string_view rules_name) {
  if (!gpu_layers && !cpu_moe_layers && overrides.empty()) return PlacementFilter{};
  BRIMFUL_TRY(std::vector<Override> parsed, parse_overrides(overrides, devices, rules_name));
  const auto rules = std::make_shared<const std::vector<Override>>(std::move(parsed));
  return [=](std::string_view device, const model::ModelProfile& profile, const model::TensorInfo& tensor) {
    for (const auto& [names, wanted] : *rules) {
      if (std::regex_search(tensor.name, names)) return wanted == device;
    }
    // The output counts as the layer behind the last one.
    const std::uint32_t layer = tensor.layer ? static_cast<std::uint32_t>(*tensor.layer) : profile.layers;
    if (cpu_moe_layers && tensor.role == model::Role::kExpert && layer < *cpu_moe_layers) return false;
    return !gpu_layers || layer < *gpu_layers;
  };
}

}  // namespace brimful::plan
