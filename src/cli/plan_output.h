#pragma once

#include <nlohmann/json.hpp>
#include <string>

#include "cli/planner.h"

namespace brimful::cli {

/// The whole answer for people: what lies where, how fast, what bounds it, and what would be better.
[[nodiscard]] std::string plan_text(const PlanReport& report);

/// The same for programs: docs/plan-json.md.
[[nodiscard]] nlohmann::ordered_json plan_json(const PlanReport& report, const PlanOptions& options);

/// The tiers as a picture.
[[nodiscard]] std::string plan_svg(const PlanReport& report);

}  // namespace brimful::cli
