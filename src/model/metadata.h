#pragma once

#include <cstddef>
#include <cstdint>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "base/result.h"
#include "model/model_profile.h"

namespace brimful::model {

struct MetadataEntry {
  std::string key;
  std::string type;         ///< `u32`, `str`, `arr[f32]`, as ggml names them
  std::uint64_t count = 1;  ///< elements the file has; `value` may hold fewer of an array
  nlohmann::json value;
};

/// The keys and values of the model's header, in file order; of arrays only the first `max_elements`.
/// Strings may hold bytes that are not UTF-8. Errors: those of read_model, and kIo where the file changed.
[[nodiscard]] Result<std::vector<MetadataEntry>> read_metadata(const ModelProfile& profile,
                                                               std::size_t max_elements);

}  // namespace brimful::model
