#pragma once

#include <nlohmann/json.hpp>
#include <string>

namespace strata::cli {

/// The tiers of docs/control.md as pictures. What is missing or makes no sense is left out.
[[nodiscard]] std::string draw_tiers(const nlohmann::json& tiers);

/// What `strata top` shows of a sample (Watch::sample).
[[nodiscard]] std::string sample_text(const nlohmann::json& sample);

}  // namespace strata::cli
