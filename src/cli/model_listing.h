#pragma once

#include <cstdint>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "model/metadata.h"
#include "model/model_profile.h"

namespace brimful::cli {

/// Describes a model for people, in lines of text. The text has no control characters, whatever the file
/// holds.
[[nodiscard]] std::string model_text(const model::ModelProfile& profile,
                                     const std::vector<model::MetadataEntry>& entries);

/// Describes a model for programs, with all its tensors.
[[nodiscard]] nlohmann::json model_json(const model::ModelProfile& profile,
                                        const std::vector<model::MetadataEntry>& entries);

/// Writes a number of parameters for people: `15.2 million`, `7.2 billion`.
[[nodiscard]] std::string parameters_text(std::uint64_t count);

/// Writes JSON as text. Bytes in strings that are not UTF-8 become U+FFFD. `indent` is the number of spaces
/// for each level; -1 writes one line.
[[nodiscard]] std::string json_text(const nlohmann::json& json, int indent = -1);

}  // namespace brimful::cli
