#pragma once

#include <nlohmann/json.hpp>
#include <string_view>

#include "base/result.h"

namespace brimful::hardware {

/// A TOML text as the same tree in JSON; dates become texts. Errors: kCorrupt, with `name` and the line.
[[nodiscard]] Result<nlohmann::json> parse_toml(std::string_view text, std::string_view name);

}  // namespace brimful::hardware
