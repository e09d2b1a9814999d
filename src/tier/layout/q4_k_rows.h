#pragma once

#include <cstddef>
#include <cstdint>

namespace brimful::tier {

/// Writes `rows` rows (a multiple of 8) of Q4_K, `row_bytes` each, to `out` as ggml-cpu's kernels for eight
/// rows at a time want them: block_q4_Kx8, the blocks of eight rows interleaved by 8 bytes, their 6-bit
/// scales and minima regrouped by sub-block. The same bytes as ggml's own repack_q4_K_to_q4_K_8_bl, in a
/// fifth of its time: that one works byte by byte, and takes longer than the disk takes to read a streamed
/// weight. Layout: ggml-common.h (block_q4_K), ggml-cpu/repack.h (block_q4_Kx8). `rows` and `out` do not
/// overlap. Any thread.
void interleave_q4_k(const std::byte* in, std::int64_t rows, std::uint64_t row_bytes, std::byte* out);

}  // namespace brimful::tier
