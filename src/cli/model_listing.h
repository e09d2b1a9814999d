#pragma once

#include <cstdint>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "model/metadata.h"
#include "model/model_profile.h"

namespace brimful::cli {

/// What is in a model, for people: lines of text without control bytes, whatever the file holds.
[[nodiscard]] std::string model_text(const model::ModelProfile& profile,
                                     const std::vector<model::MetadataEntry>& entries);

/// The same, complete, for programs.
[[nodiscard]] nlohmann::json model_json(const model::ModelProfile& profile,
                                        const std::vector<model::MetadataEntry>& entries);

/// A number of parameters as people say it: `15.2 million`, `7.2 billion`.
[[nodiscard]] std::string parameters_text(std::uint64_t count);

/// Strings that are not UTF-8 are mended. `indent`: -1 for one line.
[[nodiscard]] std::string json_text(const nlohmann::json& json, int indent = -1);

}  // namespace brimful::cli
