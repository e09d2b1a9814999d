#include "tier/layout/q4_k_rows.h"

#include "base/check.h"
#include "tier/layout/q4_k_scales.h"

namespace brimful::tier {
namespace {

using q4_k::kScales;
using q4_k::load;
using q4_k::store;

constexpr int kRows = 8;
// Bytes of 256 values of 4 bits.
constexpr std::size_t kQuants = 128;
// Bytes of two half floats: scale and minimum of the block.
constexpr std::size_t kHeader = 4;
constexpr std::size_t kBlock = kHeader + kScales + kQuants;

/// Interleaves one block of each of eight rows.
void interleave_block(const std::byte* in, std::uint64_t row_bytes, std::byte* out) {
  for (std::size_t row = 0; row < kRows; ++row) {
    store(out + 2 * row, load<std::uint16_t>(in + row * row_bytes));
    store(out + 2 * (kRows + row), load<std::uint16_t>(in + row * row_bytes + 2));
  }
  out += kRows * kHeader;

  q4_k::regroup(in + kHeader, row_bytes, out, kScales);
  out += kRows * kScales;

  in += kHeader + kScales;
  for (std::size_t at = 0; at < kQuants; at += 8) {
    for (std::size_t row = 0; row < kRows; ++row, out += 8)
      store(out, load<std::uint64_t>(in + row * row_bytes + at));
  }
}

}  // namespace

void interleave_q4_k(const std::byte* in, std::int64_t rows, std::uint64_t row_bytes, std::byte* out) {
  BRIMFUL_CHECK(rows % kRows == 0 && row_bytes % kBlock == 0);
  for (std::int64_t row = 0; row < rows; row += kRows, in += kRows * row_bytes) {
    for (std::uint64_t at = 0; at < row_bytes; at += kBlock, out += kRows * kBlock) {
      interleave_block(in + at, row_bytes, out);
    }
  }
}

}  // namespace brimful::tier
