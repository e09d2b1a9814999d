#pragma once

#include <cstddef>
#include <cstdint>

namespace brimful::tier {

/// Writes `rows` rows of Q4_K (a multiple of 8), of `row_bytes` bytes each, to `out` in the layout that
/// ggml-cpu's kernels for eight rows at a time want: block_q4_Kx8. In it, the blocks of eight rows are
/// interleaved by 8 bytes, and their 6-bit scales and minima are regrouped by sub-block. The result has the
/// same bytes as ggml's own repack_q4_K_to_q4_K_8_bl, in a fifth of its time: that function works byte by
/// byte, and takes longer than the disk takes to read a streamed weight.
/// Source of the layouts: ggml-common.h (block_q4_K), ggml-cpu/repack.h (block_q4_Kx8). `in` and `out` must
/// not overlap. Any thread.
void interleave_q4_k(const std::byte* in, std::int64_t rows, std::uint64_t row_bytes, std::byte* out);

}  // namespace brimful::tier
