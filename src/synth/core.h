#pragma once

#include <filesystem>
#include <fstream>
#include <memory>
#include <span>
#include <vector>

#include "model/model_profile.h"
#include "synth/shape.h"
#include "synth/tensors.h"

namespace brimful::synth {

/// A small trained model that becomes the core of a larger made-up one. Each matrix of the small model lies
/// in a corner of the large model's matrix; the numbers around it are random and small. So the large model
/// writes what the small one writes, except for a little noise, and costs as much as its full size.
/// Threading: one thread at a time, because read_row() moves the file's position.
class SynthCore {
 public:
  /// Reads the header of the trained model at `path`. Errors: those of read_model; kUnsupported for another
  /// architecture than llama, a model in several files, or weights that are not F32.
  [[nodiscard]] static Result<SynthCore> open(const std::filesystem::path& path);

  /// Returns `like`, changed so that it can hold this model: with this model's head size, ratio of key-value
  /// heads, context and RoPE base, an RMS epsilon that fits the larger width, and a tied output when this
  /// model has one.
  /// Errors: kInvalidArgument when `like` is no llama, or smaller than this model in some way.
  [[nodiscard]] Result<SynthShape> shape_around(SynthShape like) const;

  /// Puts this model's tensors into the corners of `tensors`, which were made for the result `shape` of
  /// shape_around(). The gain of all random matrices is multiplied by `noise`.
  void put_into(std::vector<SynthTensor>& tensors, const SynthShape& shape, float noise) const;

  /// Reads a row of the trained tensor in a corner, and multiplies it by the corner's gain. Writes the first
  /// corner.row_length numbers of `out`. Errors: kIo.
  [[nodiscard]] Status read_row(const SynthCorner& corner, std::int64_t row, std::span<float> out) const;

 private:
  struct Sizes {
    std::uint32_t layers = 0;
    std::uint32_t embedding = 0;
    std::uint32_t feed_forward = 0;
    std::uint32_t heads = 0;
    std::uint32_t kv_heads = 0;
    float rope_base = 10000.0F;
    float rms_epsilon = 1e-5F;
  };
  [[nodiscard]] Status read_sizes();

  model::ModelProfile profile_;
  Sizes sizes_;
  std::unique_ptr<std::ifstream> weights_;
};

}  // namespace brimful::synth
