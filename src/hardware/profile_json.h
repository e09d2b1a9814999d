#pragma once

#include <nlohmann/json.hpp>

#include "hardware/fields.h"
#include "hardware/profile.h"

/// Conversions of single parts of a profile to and from JSON, for code that transfers only such a part.
namespace brimful::hardware {

[[nodiscard]] nlohmann::json gpu_json(const Gpu& gpu);
[[nodiscard]] Gpu parse_gpu(Fields fields);

/// Writes JSON as text. `indent` is the number of spaces for each level; -1 writes one line. Names come from
/// drivers and need not be UTF-8: bytes that are not become U+FFFD.
[[nodiscard]] std::string dump(const nlohmann::json& json, int indent);

}  // namespace brimful::hardware
