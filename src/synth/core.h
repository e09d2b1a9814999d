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

/// A small trained model in the core of a larger made-up one: each of its matrices lies in a corner of a
/// larger one, and what surrounds it is random and small. So the large model does what the small one does,
/// but for a little noise, at the full cost of its size.
/// Threading: read_row() moves the file's position.
class SynthCore {
 public:
  /// Errors: those of read_model; kUnsupported for another architecture than llama, or weights that are not
  /// F32.
  [[nodiscard]] static Result<SynthCore> open(const std::filesystem::path& path);

  /// `like` with the heads, the positions, the vocabulary and the constants of this model.
  /// Errors: kInvalidArgument where `like` is smaller than this, or no llama.
  [[nodiscard]] Result<SynthShape> shape_around(SynthShape like) const;

  /// Puts this model's tensors into the corners of `tensors`, made for shape_around(), and makes what is
  /// random `noise` times as large as it was.
  void put_into(std::vector<SynthTensor>& tensors, const SynthShape& shape, float noise) const;

  /// A row of what a tensor has in its corner. Errors: kIo.
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
