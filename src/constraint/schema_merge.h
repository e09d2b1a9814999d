#pragma once

#include <nlohmann/json.hpp>
#include <string>
#include <vector>

namespace brimful::constraint {

/// llama.cpp's converter reads one kind of keyword of a schema and passes over all others: beside `$ref`,
/// `anyOf` or `oneOf` nothing counts, an `allOf` of anything but objects becomes an empty object, `items`
/// hides `prefixItems`, and a required property that is not listed is not asked for. Here a schema is written
/// anew, in place, with the same meaning and nothing beside one another: parts of `allOf` become one schema,
/// and what stands beside alternatives goes into each of them.
/// What cannot be written so is left out, and named in `not_enforced`, as `keyword at /place`.
void merge_schema(nlohmann::ordered_json& schema, std::vector<std::string>& not_enforced);

}  // namespace brimful::constraint
