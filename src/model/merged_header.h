#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "model/header_file.h"

namespace brimful::model {

/// The header of the one file that the parts of a split model would make up.
struct MergedHeader {
  std::vector<std::byte> bytes;
  std::uint64_t file_size = 0;
};

/// The keys of the first part without split.*, byte for byte, and the tensors of all parts, one after
/// another. Requires: at least one part; names unique over all of them.
[[nodiscard]] MergedHeader merge_headers(std::span<const HeaderFile> parts);

}  // namespace brimful::model
