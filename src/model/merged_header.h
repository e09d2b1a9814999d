#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "model/header_file.h"

namespace brimful::model {

/// The header of the single GGUF file that holds all parts of a split model.
struct MergedHeader {
  /// The header, padding included.
  std::vector<std::byte> bytes;
  /// The size of the whole file in bytes: the header, the weights and their padding.
  std::uint64_t file_size = 0;
};

/// Merges the headers of a split model. The result has the keys of the first part, byte for byte but without
/// the split.* keys, and then the tensors of all parts, one part after the other. Pure.
/// Requires: at least one part; tensor names that are unique over all parts.
[[nodiscard]] MergedHeader merge_headers(std::span<const HeaderFile> parts);

}  // namespace brimful::model
