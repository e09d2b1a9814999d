#include "synth/weights.h"

#include <algorithm>
#include <cmath>
#include <cstring>

#include "base/check.h"
#include "synth/type.h"

namespace brimful::synth {
namespace {

constexpr std::int64_t kPoolWeights = 1 << 20;
constexpr std::int64_t kQuantRow = 256;  // A multiple of the block size of every type.

/// Sets the scale of a block of a codebook type, by which all its weights are multiplied.
void set_scale(ggml_type type, std::byte* block, ggml_fp16_t scale) {
  if (type != GGML_TYPE_IQ1_M) {
    std::memcpy(block, &scale, sizeof(scale));
    return;
  }
  // IQ1_M has the scale in the top four bits of the block's last four 16-bit words, lowest bits first.
  std::byte* word = block + ggml_type_size(type) - 4 * sizeof(std::uint16_t);
  for (unsigned i = 0; i < 4; ++i, word += sizeof(std::uint16_t)) {
    const unsigned nibble = (static_cast<unsigned>(scale) >> (4 * i)) & 0xF;
    word[1] = (word[1] & std::byte{0x0F}) | static_cast<std::byte>(nibble << 4);
  }
}

void set_scales(ggml_type type, std::span<std::byte> blocks, float scale) {
  const ggml_fp16_t half = ggml_fp32_to_fp16(scale);
  for (std::size_t at = 0; at < blocks.size(); at += ggml_type_size(type)) set_scale(type, &blocks[at], half);
}

std::vector<std::byte> random_blocks(ggml_type type, float deviation, SynthRandom& random) {
  std::vector<std::byte> blocks(ggml_row_size(type, kPoolWeights));
  for (std::byte& byte : blocks) byte = static_cast<std::byte>(random.next() >> 56);
  set_scales(type, blocks, 1.0F);
  std::vector<float> values(static_cast<std::size_t>(kPoolWeights));
  ggml_get_type_traits(type)->to_float(blocks.data(), values.data(), kPoolWeights);
  double squares = 0;
  for (const float value : values) squares += static_cast<double>(value) * static_cast<double>(value);
  const double unscaled = std::sqrt(squares / static_cast<double>(kPoolWeights));
  set_scales(type, blocks, static_cast<float>(deviation / unscaled));
  return blocks;
}

std::vector<std::byte> quantised_blocks(ggml_type type, float deviation, SynthRandom& random) {
  std::vector<float> values(static_cast<std::size_t>(kPoolWeights));
  for (float& value : values) value = random.normal() * deviation;
  std::vector<std::byte> blocks(ggml_row_size(type, kPoolWeights));
  ggml_quantize_chunk(type, values.data(), blocks.data(), 0, kPoolWeights / kQuantRow, kQuantRow, nullptr);
  return blocks;
}

}  // namespace

std::uint64_t SynthRandom::next() {
  std::uint64_t z = (state_ += 0x9E3779B97F4A7C15ULL);
  z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9ULL;
  z = (z ^ (z >> 27)) * 0x94D049BB133111EBULL;
  return z ^ (z >> 31);
}

float SynthRandom::normal() {
  // The sum of four uniform numbers is exact in integers, so it is the same on every machine.
  constexpr double kMean = 4 * 65535.0 / 2;
  constexpr double kDeviation = 37837.2;  // sqrt(4 * 65536^2 / 12)
  const std::uint64_t r = next();
  const std::uint64_t sum = (r & 0xFFFF) + ((r >> 16) & 0xFFFF) + ((r >> 32) & 0xFFFF) + (r >> 48);
  return static_cast<float>((static_cast<double>(sum) - kMean) / kDeviation);
}

std::uint64_t synth_seed(std::uint64_t seed, std::string_view text) {
  std::uint64_t hash = 0xCBF29CE484222325ULL;  // FNV-1a
  for (const char c : text) hash = (hash ^ static_cast<unsigned char>(c)) * 0x100000001B3ULL;
  return SynthRandom(seed ^ hash).next();
}

WeightPool::WeightPool(ggml_type type, float deviation, std::uint64_t seed)
    : block_bytes_(ggml_type_size(type)) {
  SynthRandom random(seed);
  bytes_ =
      has_codebook(type) ? random_blocks(type, deviation, random) : quantised_blocks(type, deviation, random);
}

WeightStream::WeightStream(const WeightPool& pool, std::size_t row_bytes, std::uint64_t tensor_bytes,
                           std::uint64_t seed)
    : pool_(pool), random_(seed) {
  BRIMFUL_CHECK(row_bytes % pool.block_bytes() == 0 && tensor_bytes % pool.block_bytes() == 0);
  // A tensor that fits into the pool is one stretch of it. In a larger tensor a row is made of four
  // stretches, so that rows differ although there are far more rows than blocks in the pool.
  const std::size_t quarter_row = std::max<std::size_t>(row_bytes / pool.block_bytes() / 4, 1);
  stretch_bytes_ = tensor_bytes <= pool.bytes().size() ? static_cast<std::size_t>(tensor_bytes)
                                                       : quarter_row * pool.block_bytes();
}

void WeightStream::next(std::span<std::byte> out) {
  const std::span<const std::byte> pool = pool_.bytes();
  while (!out.empty()) {
    if (left_ == 0) {
      position_ = static_cast<std::size_t>(random_.below(pool_.blocks())) * pool_.block_bytes();
      left_ = stretch_bytes_;
    }
    const std::size_t n = std::min({out.size(), left_, pool.size() - position_});
    std::memcpy(out.data(), pool.data() + position_, n);
    out = out.subspan(n);
    left_ -= n;
    position_ = (position_ + n) % pool.size();
  }
}

}  // namespace brimful::synth
