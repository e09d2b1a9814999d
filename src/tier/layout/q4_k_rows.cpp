#include "tier/layout/q4_k_rows.h"

#include <array>
#include <cstring>

#include "base/check.h"

namespace brimful::tier {
namespace {

constexpr int kRows = 8;
// Bytes of 8 scales and 8 minima of 6 bits.
constexpr std::size_t kScales = 12;
// Bytes of 256 values of 4 bits.
constexpr std::size_t kQuants = 128;
// Bytes of two half floats: scale and minimum of the block.
constexpr std::size_t kHeader = 4;
constexpr std::size_t kBlock = kHeader + kScales + kQuants;

using Bytes8 = std::uint64_t;  // little-endian: byte i is bits 8i to 8i+7

template <typename T>
T load(const std::byte* from) {
  T value;
  std::memcpy(&value, from, sizeof value);
  return value;
}

template <typename T>
void store(std::byte* to, T value) {
  std::memcpy(to, &value, sizeof value);
}

/// Byte j of word i becomes byte i of word j.
void transpose(std::array<Bytes8, 8>& words) {
  constexpr std::array<Bytes8, 3> kKept = {0x00ff00ff00ff00ff, 0x0000ffff0000ffff, 0x00000000ffffffff};
  for (std::size_t step = 0; step < kKept.size(); ++step) {
    const std::size_t distance = std::size_t{1} << step;
    const int bits = 8 << step;
    for (std::size_t i = 0; i < words.size(); ++i) {
      if (i & distance) continue;
      const Bytes8 low = words[i];
      const Bytes8 high = words[i + distance];
      words[i] = (low & kKept[step]) | ((high & kKept[step]) << bits);
      words[i + distance] = ((low >> bits) & kKept[step]) | (high & ~kKept[step]);
    }
  }
}

/// The values of eight blocks, one of each of eight rows. Word i has those of row i, one byte for each
/// sub-block. After transpose(), word i has those of sub-block i, one byte for each row.
struct ScalesAndMinima {
  std::array<Bytes8, 8> scales, minima;
};

/// Unpacks the scales and minima of eight rows.
ScalesAndMinima unpack(const std::byte* in, std::uint64_t row_bytes) {
  ScalesAndMinima out;
  for (std::size_t row = 0; row < kRows; ++row) {
    const std::byte* const packed = in + row * row_bytes + kHeader;
    const auto a = load<std::uint32_t>(packed);
    const auto b = load<std::uint32_t>(packed + 4);
    const auto c = load<std::uint32_t>(packed + 8);
    const std::uint32_t scales_4_to_7 = (c & 0x0f0f0f0f) | ((a >> 2) & 0x30303030);
    const std::uint32_t minima_4_to_7 = ((c >> 4) & 0x0f0f0f0f) | ((b >> 2) & 0x30303030);
    out.scales[row] = (a & 0x3f3f3f3f) | (Bytes8{scales_4_to_7} << 32);
    out.minima[row] = (b & 0x3f3f3f3f) | (Bytes8{minima_4_to_7} << 32);
  }
  return out;
}

/// Packs the values that eight rows have in one sub-block into 12 bytes, in the way that Q4_K packs those of
/// the eight sub-blocks of one row.
void pack(Bytes8 scales, Bytes8 minima, std::byte* out) {
  const auto scales_4_to_7 = static_cast<std::uint32_t>(scales >> 32);
  const auto minima_4_to_7 = static_cast<std::uint32_t>(minima >> 32);
  store(out, static_cast<std::uint32_t>(scales) | ((scales_4_to_7 & 0x30303030) << 2));
  store(out + 4, static_cast<std::uint32_t>(minima) | ((minima_4_to_7 & 0x30303030) << 2));
  store(out + 8, (scales_4_to_7 & 0x0f0f0f0f) | ((minima_4_to_7 & 0x0f0f0f0f) << 4));
}

/// Interleaves one block of each of eight rows.
void interleave_block(const std::byte* in, std::uint64_t row_bytes, std::byte* out) {
  for (std::size_t row = 0; row < kRows; ++row) {
    store(out + 2 * row, load<std::uint16_t>(in + row * row_bytes));
    store(out + 2 * (kRows + row), load<std::uint16_t>(in + row * row_bytes + 2));
  }
  out += kRows * kHeader;

  ScalesAndMinima values = unpack(in, row_bytes);
  transpose(values.scales);
  transpose(values.minima);
  for (std::size_t i = 0; i < 8; ++i) pack(values.scales[i], values.minima[i], out + i * kScales);
  out += kRows * kScales;

  in += kHeader + kScales;
  for (std::size_t at = 0; at < kQuants; at += 8) {
    for (std::size_t row = 0; row < kRows; ++row, out += 8)
      store(out, load<Bytes8>(in + row * row_bytes + at));
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
