#pragma once

#include <cstddef>
#include <cstdint>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "base/result.h"
#include "model/model_profile.h"

namespace brimful::model {

/// One key of a model's header, with its value as JSON.
struct MetadataEntry {
  std::string key;
  /// The type in ggml's words: `u32`, `str`, `arr[f32]`.
  std::string type;
  /// The number of elements in the file: 1 for a scalar. `value` may hold fewer elements of an array.
  std::uint64_t count = 1;
  nlohmann::json value;
};

/// Reads the keys and values of the header of the model's first file, in the file's order. Arrays are cut
/// after `max_elements` elements. Strings may hold bytes that are not UTF-8. `brimful show` calls it.
/// Errors: those of read_header; kIo when the file was changed since the profile was read.
[[nodiscard]] Result<std::vector<MetadataEntry>> read_metadata(const ModelProfile& profile,
                                                               std::size_t max_elements);

}  // namespace brimful::model
