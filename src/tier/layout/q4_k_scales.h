#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <cstring>

/// The scales and minima of Q4_K, eight blocks at a time. Source of the layouts: ggml-common.h (block_q4_K),
/// ggml-cpu/repack.h (block_q4_Kx8).
namespace brimful::tier::q4_k {

using Bytes8 = std::uint64_t;  // little-endian: byte i is bits 8i to 8i+7

/// Bytes of 8 scales and 8 minima of 6 bits.
inline constexpr std::size_t kScales = 12;

template <typename T>
[[nodiscard]] inline T load(const std::byte* from) {
  T value;
  std::memcpy(&value, from, sizeof value);
  return value;
}

template <typename T>
inline void store(std::byte* to, T value) {
  std::memcpy(to, &value, sizeof value);
}

/// Byte j of word i becomes byte i of word j.
inline void transpose(std::array<Bytes8, 8>& words) {
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

/// The 8 scales and 8 minima of 6 bits that 12 bytes hold, one byte for each. A block packs those of its
/// eight sub-blocks in this way; in the layout for eight rows, the values that eight rows have in one
/// sub-block are packed in the same way.
struct Unpacked {
  Bytes8 scales = 0;
  Bytes8 minima = 0;
};

[[nodiscard]] inline Unpacked unpack(const std::byte* packed) {
  const auto a = load<std::uint32_t>(packed);
  const auto b = load<std::uint32_t>(packed + 4);
  const auto c = load<std::uint32_t>(packed + 8);
  const std::uint32_t scales_4_to_7 = (c & 0x0f0f0f0f) | ((a >> 2) & 0x30303030);
  const std::uint32_t minima_4_to_7 = ((c >> 4) & 0x0f0f0f0f) | ((b >> 2) & 0x30303030);
  return {(a & 0x3f3f3f3f) | (Bytes8{scales_4_to_7} << 32), (b & 0x3f3f3f3f) | (Bytes8{minima_4_to_7} << 32)};
}

inline void pack(const Unpacked& values, std::byte* out) {
  const auto scales_4_to_7 = static_cast<std::uint32_t>(values.scales >> 32);
  const auto minima_4_to_7 = static_cast<std::uint32_t>(values.minima >> 32);
  store(out, static_cast<std::uint32_t>(values.scales) | ((scales_4_to_7 & 0x30303030) << 2));
  store(out + 4, static_cast<std::uint32_t>(values.minima) | ((minima_4_to_7 & 0x30303030) << 2));
  store(out + 8, (scales_4_to_7 & 0x0f0f0f0f) | ((minima_4_to_7 & 0x0f0f0f0f) << 4));
}

/// Repacks eight times 12 bytes, from eight rows to eight sub-blocks, or the other way round. The bytes of
/// number i lie at in + i * in_stride, and at out + i * out_stride.
inline void regroup(const std::byte* in, std::size_t in_stride, std::byte* out, std::size_t out_stride) {
  std::array<Bytes8, 8> scales;
  std::array<Bytes8, 8> minima;
  for (std::size_t i = 0; i < 8; ++i) {
    const Unpacked values = unpack(in + i * in_stride);
    scales[i] = values.scales;
    minima[i] = values.minima;
  }
  transpose(scales);
  transpose(minima);
  for (std::size_t i = 0; i < 8; ++i) pack({scales[i], minima[i]}, out + i * out_stride);
}

}  // namespace brimful::tier::q4_k
