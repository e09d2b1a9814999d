#pragma once

#include <nlohmann/json.hpp>
#include <string>
#include <vector>

namespace brimful::constraint {

/// Rewrites a schema in place, with the same meaning, so that llama.cpp's converter can follow it. The
/// converter reads one kind of keyword of a schema and ignores all others: next to `$ref`, `anyOf` or `oneOf`
/// nothing counts, an `allOf` of anything but objects becomes an empty object, `items` hides `prefixItems`,
/// and a required property that is not listed is not asked for. In the result no keyword stands next to
/// another one that hides it: the parts of `allOf` become one schema, and keywords next to alternatives are
/// copied into each alternative.
/// Keywords that cannot be rewritten are left out, and `not_enforced` names each of them, as `keyword at
/// /place`.
void merge_schema(nlohmann::ordered_json& schema, std::vector<std::string>& not_enforced);

}  // namespace brimful::constraint
