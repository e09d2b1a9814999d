#pragma once

#include <nlohmann/json.hpp>
#include <string>

#include "cli/planner.h"

namespace brimful::cli {

/// Writes a report for people: the tiers, the speed, what limits it, and what would be better.
[[nodiscard]] std::string plan_text(const PlanReport& report);

/// Writes a report for programs (docs/plan-json.md).
[[nodiscard]] nlohmann::ordered_json plan_json(const PlanReport& report, const PlanOptions& options);

/// Draws the tiers of a report as an SVG picture.
[[nodiscard]] std::string plan_svg(const PlanReport& report);

}  // namespace brimful::cli
