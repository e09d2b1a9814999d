#pragma once

#include <ggml.h>

#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>
#include <vector>

namespace brimful::synth {

/// A small, fast random generator (SplitMix64) whose numbers are the same on every machine.
class SynthRandom {
 public:
  explicit SynthRandom(std::uint64_t seed) : state_(seed) {}

  std::uint64_t next();
  /// A number in [0, bound). `bound` is below 2^32.
  std::uint64_t below(std::uint64_t bound) { return ((next() >> 32) * bound) >> 32; }
  /// A number of an approximately normal distribution with mean 0 and standard deviation 1, within +-3.5.
  float normal();

 private:
  std::uint64_t state_;
};

/// Derives a seed from a seed and a text. Each tensor gets its own seed from its name, independent of its
/// place.
[[nodiscard]] std::uint64_t synth_seed(std::uint64_t seed, std::string_view text);

/// About a million random weights of one type and one standard deviation. The tensors of a model consist of
/// copies from the pool, because making each weight anew would take hours.
class WeightPool {
 public:
  /// Makes the weights. `type` is one of synth_types(); `deviation` is the standard deviation.
  WeightPool(ggml_type type, float deviation, std::uint64_t seed);

  [[nodiscard]] std::span<const std::byte> bytes() const { return bytes_; }
  [[nodiscard]] std::size_t block_bytes() const { return block_bytes_; }
  [[nodiscard]] std::size_t blocks() const { return bytes_.size() / block_bytes_; }

 private:
  std::size_t block_bytes_;
  std::vector<std::byte> bytes_;
};

/// Makes the bytes of one tensor from stretches of the pool. Each stretch begins at a random block, so that
/// rows differ from one another. Lifetime: the pool must outlive the stream.
class WeightStream {
 public:
  /// `row_bytes` is the size of a row, and `tensor_bytes` that of the tensor. Requires: both are whole
  /// numbers of the pool's blocks.
  WeightStream(const WeightPool& pool, std::size_t row_bytes, std::uint64_t tensor_bytes, std::uint64_t seed);

  /// Fills `out` with the next bytes of the tensor. The bytes do not depend on how they are divided into
  /// calls.
  void next(std::span<std::byte> out);

 private:
  const WeightPool& pool_;
  SynthRandom random_;
  std::size_t stretch_bytes_;
  std::size_t position_ = 0;  // The position of the next byte in the pool.
  std::size_t left_ = 0;      // The number of bytes that are left of the current stretch.
};

}  // namespace brimful::synth
