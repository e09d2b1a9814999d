#pragma once

#include <nlohmann/json.hpp>
#include <string>
#include <string_view>

namespace brimful::cli {

/// The tiers of docs/control.md as pictures. What is missing or makes no sense is left out.
[[nodiscard]] std::string draw_tiers(const nlohmann::json& tiers);

/// The models that run, one in a line: process, model, state, budgets. `statuses` is an array of what the
/// processes answered (docs/control.md); a process that did not answer has nothing but its `pid`.
[[nodiscard]] std::string running_text(const nlohmann::json& statuses);

/// What `brimful top` shows of a sample (Watch::sample).
[[nodiscard]] std::string sample_text(const nlohmann::json& sample);

/// `text` for a screen of `rows` rows that is drawn over again and again: what was there before is wiped, the
/// last row says how to leave, and lines for which there is no row are left out. `rows` is at least 2.
[[nodiscard]] std::string screen_text(std::string_view text, std::size_t rows);

}  // namespace brimful::cli
