#pragma once

#include <ggml.h>

#include <cstddef>
#include <cstdint>

namespace brimful::tier {

/// Number of rows that are interleaved with one another. The number of rows of an expert is a multiple of it
/// where the layout is used.
inline constexpr std::uint64_t kInterleavedRows = 8;

/// Rows of a weight in the layout of ggml-cpu's kernels for eight rows at a time: the blocks of eight
/// neighbouring rows are interleaved. Each group of eight rows takes the same bytes as in the file.
struct InterleavedRows {
  ggml_type type = GGML_TYPE_F32;
  std::uint64_t row_bytes = 0;
  /// The first byte of a group.
  const std::byte* data = nullptr;
};

/// Whether turn_back() knows a layout of eight rows for this type. ggml has it on x86: Q4_0, Q4_K, IQ4_NL and
/// MXFP4 with AVX2, and Q2_K with AVX-512.
[[nodiscard]] bool can_turn_back(ggml_type type);

/// Writes `size` bytes of rows to `out` as they are in the file, from byte `begin` on. Both count in the
/// file's layout, from the first row of `rows` on, and may have any value: a stretch may begin and end within
/// a block. All groups with a byte of the stretch are read as a whole. `out` must not overlap them. Requires:
/// can_turn_back(rows.type). Any thread.
/// Source of the layouts: ggml-common.h and ggml-cpu/repack.cpp (make_block_q4_0x8 and its neighbours).
void turn_back(const InterleavedRows& rows, std::uint64_t begin, std::uint64_t size, std::byte* out);

}  // namespace brimful::tier
