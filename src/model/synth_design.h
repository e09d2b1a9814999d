#pragma once

#include <gguf.h>

#include <array>
#include <cstdint>
#include <optional>
#include <span>
#include <string_view>
#include <variant>

#include "model/synth_shape.h"

namespace strata::model {

/// Sizes that tensors and keys take from the shape.
enum class Side {
  kLayers,
  kEmbedding,
  kFeedForward,
  kHeads,
  kKvHeads,
  kHeadSize,
  kQuery,     ///< heads * head size
  kKeyValue,  ///< key-value heads * head size
  kExperts,
  kExpertsUsed,
  kExpertFeedForward,
  kVocabulary,
  kContext,
};

/// A size that is taken from the shape, or is the same in every shape of a design.
class Length {
 public:
  constexpr Length(Side side) : side_(side) {}                                   // NOLINT: reads as a number
  constexpr Length(int number) : number_(static_cast<std::uint32_t>(number)) {}  // NOLINT

  [[nodiscard]] std::uint32_t in(const SynthShape& shape) const;

 private:
  std::optional<Side> side_;
  std::uint32_t number_ = 0;
};

/// How a tensor's numbers are made.
enum class SynthFill {
  kMatrix,  ///< random, of standard deviation gain / sqrt(row length)
  kVector,  ///< F32: `mean`, and about it a standard deviation of `gain`
  kRouter,  ///< F32: as a matrix, and each row has a gain of its own
};

struct TensorTemplate {
  std::string_view name;
  std::array<Length, 3> shape{1, 1, 1};  ///< ggml's ne: shape[0] is the row length
  SynthFill fill = SynthFill::kMatrix;
  float gain = 1.0F;
  float mean = 0.0F;
  std::optional<ggml_type> type = std::nullopt;  ///< of a matrix, where the design and not the user says
};

/// A number that keys take from the shape.
enum class Real { kRopeBase, kRmsEpsilon };

struct KeyTemplate {
  std::string_view name;  ///< without the architecture's prefix
  std::variant<Length, Real, float, bool, std::string_view> value;
};

/// Which layers have some tensors.
enum class LayerSet { kAll };

struct LayerTensors {
  LayerSet layers = LayerSet::kAll;
  std::span<const TensorTemplate> tensors;  ///< names follow `blk.N.`
};

/// What an architecture consists of: all that libllama's loader asks for.
struct SynthDesign {
  std::string_view name;
  std::string_view architecture;  ///< general.architecture
  std::array<std::span<const KeyTemplate>, 3> keys;
  std::span<const TensorTemplate> input;
  std::array<LayerTensors, 3> layers;
  std::span<const TensorTemplate> output;
};

/// Requires: a name that some shape has as its design.
[[nodiscard]] const SynthDesign& find_synth_design(std::string_view name);

/// Adds the architecture's keys, prefixed with its name.
void add_synth_keys(gguf_context* to, const SynthDesign& design, const SynthShape& shape);

}  // namespace strata::model
