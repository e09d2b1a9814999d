#pragma once

#include <nlohmann/json.hpp>
#include <string_view>

#include "base/result.h"

namespace brimful::hardware {

/// Parses a TOML text and returns the same tree as JSON; dates and times become strings. `name` is the name
/// of the text in messages.
/// Errors: kCorrupt, with `name` and the line.
[[nodiscard]] Result<nlohmann::json> parse_toml(std::string_view text, std::string_view name);

}  // namespace brimful::hardware
