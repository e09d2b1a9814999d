#pragma once

#include <ggml.h>

#include <array>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"

namespace strata::model {

/// The sizes of a named model, in elements, tokens and counts.
struct SynthShape {
  std::string_view name;
  std::string_view architecture;  ///< a GGUF architecture that find_synth_tensors knows
  std::uint32_t layers = 0;
  std::uint32_t embedding = 0;
  std::uint32_t feed_forward = 0;
  std::uint32_t heads = 0;
  std::uint32_t kv_heads = 0;
  std::uint32_t head_size = 0;
  std::uint32_t vocabulary = 0;
  std::uint32_t context = 0;
  float rope_base = 10000.0F;
  float rms_epsilon = 1e-5F;
  bool tied = false;  ///< the token embedding is the output matrix too
};

enum class SynthFill { kRandom, kOnes };

struct SynthTensor {
  std::string name;
  std::array<std::int64_t, 2> shape{1, 1};  ///< ggml's ne: shape[0] is the row length
  ggml_type type = GGML_TYPE_F32;
  SynthFill fill = SynthFill::kRandom;
  float gain = 1.0F;  ///< random weights have the standard deviation gain / sqrt(row length)
};

[[nodiscard]] std::span<const SynthShape> synth_shapes();

/// Errors: kInvalidArgument: the message lists the names that are known.
[[nodiscard]] Result<SynthShape> find_synth_shape(std::string_view name);

/// The types random weights can be made in: what ggml can both quantise and compute with.
[[nodiscard]] std::vector<ggml_type> synth_types();

/// `name` is ggml's, in any case: Q4_K, bf16.
/// Errors: kInvalidArgument: the message lists the names that are known.
[[nodiscard]] Result<ggml_type> find_synth_type(std::string_view name);

/// The usual spelling of a type's name: ggml's in capitals.
[[nodiscard]] std::string synth_type_name(ggml_type type);

/// Every tensor of the model, in file order: matrices of `type`, vectors in F32.
/// Errors: kInvalidArgument where a row is no whole number of the type's blocks.
[[nodiscard]] Result<std::vector<SynthTensor>> synth_tensors(const SynthShape& shape, ggml_type type);

}  // namespace strata::model
