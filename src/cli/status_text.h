#pragma once

#include <nlohmann/json.hpp>
#include <string>
#include <string_view>

namespace brimful::cli {

/// Draws the `tiers` of a status (docs/control.md) as draw_tier() does. Values that are missing or make no
/// sense are left out.
[[nodiscard]] std::string draw_tiers(const nlohmann::json& tiers);

/// Lists running models, one in a line: process, model, state, budgets. `statuses` is an array of the
/// statuses of the processes (docs/control.md). An entry with nothing but a `pid` stands for a process that
/// did not answer.
[[nodiscard]] std::string running_text(const nlohmann::json& statuses);

/// Writes a sample of Watch::sample() as `brimful top` shows it.
[[nodiscard]] std::string sample_text(const nlohmann::json& sample);

/// Returns `text` with control sequences that draw it over the previous content of a screen of `rows` rows.
/// The last row says how to leave. Lines that do not fit are left out. `rows` is at least 2.
[[nodiscard]] std::string screen_text(std::string_view text, std::size_t rows);

}  // namespace brimful::cli
