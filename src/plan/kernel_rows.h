#pragma once

#include <cstdint>

namespace brimful::plan {

/// Unit: rows. ggml multiplies several tokens with a matrix of floats by another kernel, with other bits,
/// where the number of the matrix's rows is a multiple of this. So a matrix whose number of rows is no
/// multiple is cut into parts that are no multiples either.
inline constexpr std::int64_t kKernelRows = 4;

}  // namespace brimful::plan
