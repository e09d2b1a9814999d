#pragma once

#include <ggml.h>

#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>
#include <vector>

namespace brimful::synth {

/// A small, fast generator whose numbers are the same on every machine (SplitMix64).
class SynthRandom {
 public:
  explicit SynthRandom(std::uint64_t seed) : state_(seed) {}

  std::uint64_t next();
  /// In [0, bound), for a bound below 2^32.
  std::uint64_t below(std::uint64_t bound) { return ((next() >> 32) * bound) >> 32; }
  /// About normal, mean 0, standard deviation 1, within +-3.5.
  float normal();

 private:
  std::uint64_t state_;
};

/// Mixes a text into a seed, so that each tensor has a seed of its own that does not depend on its place.
[[nodiscard]] std::uint64_t synth_seed(std::uint64_t seed, std::string_view text);

/// About a million random weights of one type with one standard deviation.
/// Whole models are poured from it: making each weight anew would take hours.
class WeightPool {
 public:
  /// `type` is one of synth_types().
  WeightPool(ggml_type type, float deviation, std::uint64_t seed);

  [[nodiscard]] std::span<const std::byte> bytes() const { return bytes_; }
  [[nodiscard]] std::size_t block_bytes() const { return block_bytes_; }
  [[nodiscard]] std::size_t blocks() const { return bytes_.size() / block_bytes_; }

 private:
  std::size_t block_bytes_;
  std::vector<std::byte> bytes_;
};

/// The bytes of one tensor: stretches of the pool, each from a random block on, so that no two rows are
/// alike. Lifetime: the pool must outlive the stream.
class WeightStream {
 public:
  /// `row_bytes` and `tensor_bytes` are whole numbers of the pool's blocks.
  WeightStream(const WeightPool& pool, std::size_t row_bytes, std::uint64_t tensor_bytes, std::uint64_t seed);

  /// Fills `out` with what comes next; the bytes do not depend on how calls cut them up.
  void next(std::span<std::byte> out);

 private:
  const WeightPool& pool_;
  SynthRandom random_;
  std::size_t stretch_bytes_;
  std::size_t position_ = 0;  // in the pool
  std::size_t left_ = 0;      // of the stretch
};

}  // namespace brimful::synth
