#pragma once

#include <nlohmann/json.hpp>

#include "hardware/fields.h"
#include "hardware/profile.h"

/// Parts of a profile as JSON, for those that carry a part alone.
namespace brimful::hardware {

[[nodiscard]] nlohmann::json gpu_json(const Gpu& gpu);
[[nodiscard]] Gpu parse_gpu(Fields fields);

/// As text. Names come from drivers and need not be UTF-8: what is not becomes U+FFFD.
[[nodiscard]] std::string dump(const nlohmann::json& json, int indent);

}  // namespace brimful::hardware
