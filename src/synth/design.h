#pragma once

#include <gguf.h>

#include <array>
#include <cstdint>
#include <optional>
#include <span>
#include <string_view>
#include <variant>

#include "synth/shape.h"

namespace brimful::synth {

/// The sizes of a shape that tensors and keys can have.
enum class Side {
  kLayers,
  kEmbedding,
  kFeedForward,
  kHeads,
  kKvHeads,
  kHeadSize,
  kHalfHead,
  kQuery,          ///< The width of all queries: heads * head size.
  kKeyValue,       ///< The width of all keys, or of all values: key-value heads * head size.
  kQueryKeyValue,  ///< The width of queries, keys and values together.
  kExperts,
  kExpertsUsed,
  kExpertFeedForward,
  kVocabulary,
  kContext,
};

/// A size in a design: a multiple of one of the shape's sizes, or a fixed number.
class Length {
 public:
  constexpr Length(Side side, int factor = 1) : side_(side), number_(factor) {}  // NOLINT: reads as a number
  constexpr Length(int number) : number_(number) {}                              // NOLINT

  /// The size for the given shape.
  [[nodiscard]] std::uint32_t in(const SynthShape& shape) const;

 private:
  std::optional<Side> side_;
  int number_ = 0;
};

constexpr Length operator*(int factor, Side side) { return {side, factor}; }

/// How a tensor's numbers are made.
enum class SynthFill {
  kMatrix,     ///< Random numbers with the standard deviation gain / sqrt(row length).
  kVector,     ///< Random F32 numbers with the mean `mean` and the standard deviation `gain`.
  kFirstHalf,  ///< A matrix that passes on the first half of its input, and nothing of the second half.
  kRouter,     ///< F32 numbers as for a matrix; each row has an additional gain of its own.
};

/// The description of one tensor in a design.
struct TensorTemplate {
  std::string_view name;
  /// ggml's `ne`: shape[0] is the row length.
  std::array<Length, 3> shape{1, 1, 1};
  SynthFill fill = SynthFill::kMatrix;
  float gain = 1.0F;
  float mean = 0.0F;
  /// The type of a matrix when the design fixes it. Unset: the user chooses it.
  std::optional<ggml_type> type = std::nullopt;
};

/// The constants of a shape that keys can have.
enum class Real { kRopeBase, kRmsEpsilon };

/// The description of one key in a design.
struct KeyTemplate {
  /// The name without the architecture's prefix.
  std::string_view name;
  std::variant<Length, Real, float, bool, std::string_view> value;
};

/// A set of layers that have the same tensors. The names refer to the numbers in SynthDesign.
enum class LayerSet {
  kAll,
  kLeading,       ///< The first `leading_layers` layers.
  kAfterLeading,  ///< All layers that are not in kLeading.
  kLast,          ///< The last `last_layers` layers.
  kAttention,     ///< Every `attention_interval`-th layer.
  kRecurrent,     ///< All layers that are not in kAttention.
};

/// Tensors of the layers of a set.
struct LayerTensors {
  /// The tensors; their names come after `blk.N.`.
  std::span<const TensorTemplate> tensors;
  LayerSet layers = LayerSet::kAll;
};

/// The kind of vocabulary that is made up for a design.
enum class SynthTokenizer { kSentencePiece, kWordPiece };

/// The keys and tensors of an architecture: everything that libllama's loader asks for.
struct SynthDesign {
  std::string_view name;
  /// The value of general.architecture.
  std::string_view architecture;
  SynthTokenizer tokenizer = SynthTokenizer::kSentencePiece;
  std::array<std::span<const KeyTemplate>, 4> keys;
  std::span<const TensorTemplate> input;
  std::array<LayerTensors, 8> layers;
  std::span<const TensorTemplate> output;
  std::uint32_t leading_layers = 0;
  std::uint32_t last_layers = 0;
  std::uint32_t attention_interval = 1;

  /// The smallest number of layers with which every kind of layer occurs.
  [[nodiscard]] std::uint32_t fewest_layers() const;
  /// Whether the layer with the number `layer` (from 0) of `all` layers belongs to `set`.
  [[nodiscard]] bool in_set(LayerSet set, std::uint32_t layer, std::uint32_t all) const;
};

/// Returns the design with that name. Requires: a name that some SynthShape has as its design.
[[nodiscard]] const SynthDesign& find_synth_design(std::string_view name);

/// Adds the architecture's keys with their values for the shape to `to`. The names get the architecture as
/// prefix.
void add_synth_keys(gguf_context* to, const SynthDesign& design, const SynthShape& shape);

}  // namespace brimful::synth
