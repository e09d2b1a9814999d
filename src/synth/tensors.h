#pragma once

#include <ggml.h>

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "synth/design.h"

namespace brimful::synth {

/// Which experts a router of random weights chooses.
enum class SynthRouter {
  kUniform,  ///< all about equally often
  kSkewed,   ///< a few of them most of the time, others in each layer
};

/// Errors: kInvalidArgument where `name` is neither `uniform` nor `skewed`.
[[nodiscard]] Result<SynthRouter> find_synth_router(std::string_view name);

/// A trained tensor in the corner of a made-up one: F32 rows in another file.
struct SynthCorner {
  std::uint64_t offset = 0;  ///< in that file
  std::int64_t row_length = 0;
  std::int64_t rows = 0;
  float gain = 1.0F;  ///< its numbers are multiplied by this
};

struct SynthTensor {
  std::string name;
  std::array<std::int64_t, 3> shape{1, 1, 1};  ///< ggml's ne: shape[0] is the row length
  ggml_type type = GGML_TYPE_F32;
  SynthFill fill = SynthFill::kMatrix;
  float gain = 1.0F;  ///< as in TensorTemplate
  float mean = 0.0F;
  std::vector<float> row_gains;  ///< of a router: each row's, beside `gain`
  std::optional<SynthCorner> corner;

  [[nodiscard]] std::int64_t rows() const { return shape[1] * shape[2]; }
};

/// Every tensor of the model, in file order: matrices of `type` where their rows allow it, vectors in F32.
/// `seed` decides which experts a skewed router prefers.
[[nodiscard]] std::vector<SynthTensor> synth_tensors(const SynthShape& shape, ggml_type type,
                                                     SynthRouter router, std::uint64_t seed);

}  // namespace brimful::synth
