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

/// How often a router of random weights chooses each expert.
enum class SynthRouter {
  kUniform,  ///< All experts about equally often.
  kSkewed,   ///< A few experts most of the time; they are others in each layer.
};

/// Returns the router with that name. Errors: kInvalidArgument when `name` is neither `uniform` nor
/// `skewed`.
[[nodiscard]] Result<SynthRouter> find_synth_router(std::string_view name);

/// A trained tensor that lies in the corner of a made-up one: the first numbers of the first rows. It
/// consists of F32 rows in the trained model's file.
struct SynthCorner {
  /// The position of the first row in that file, in bytes.
  std::uint64_t offset = 0;
  /// The length of the trained rows, in numbers.
  std::int64_t row_length = 0;
  std::int64_t rows = 0;
  /// The factor by which the trained numbers are multiplied.
  float gain = 1.0F;
};

/// One tensor of a made-up model.
struct SynthTensor {
  std::string name;
  /// ggml's `ne`: shape[0] is the row length.
  std::array<std::int64_t, 3> shape{1, 1, 1};
  ggml_type type = GGML_TYPE_F32;
  /// `fill`, `gain` and `mean` are as in TensorTemplate.
  SynthFill fill = SynthFill::kMatrix;
  float gain = 1.0F;
  float mean = 0.0F;
  /// For a router, the additional gain of each row. Empty for other tensors.
  std::vector<float> row_gains;
  /// The trained tensor in the corner. Unset when everything is random.
  std::optional<SynthCorner> corner;

  [[nodiscard]] std::int64_t rows() const { return shape[1] * shape[2]; }
};

/// Returns all tensors of a model in the order of the file. Matrices have `type`, or the type of
/// type_for_rows() when the length of their rows does not allow it; vectors are F32. `seed` decides which
/// experts a skewed router prefers. Pure.
[[nodiscard]] std::vector<SynthTensor> synth_tensors(const SynthShape& shape, ggml_type type,
                                                     SynthRouter router, std::uint64_t seed);

}  // namespace brimful::synth
