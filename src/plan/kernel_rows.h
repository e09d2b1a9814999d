#pragma once

#include <cstdint>

namespace brimful::plan {

/// ggml multiplies several tokens with a matrix of floats by another kernel, with other bits, where the
/// number of the matrix's rows is a multiple of this. So a matrix with another number of rows is cut into
/// parts that are no multiples either. Unit: rows.
inline constexpr std::int64_t kKernelRows = 4;

}  // namespace brimful::plan
