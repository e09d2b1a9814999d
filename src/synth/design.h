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

/// Sizes that tensors and keys take from the shape.
enum class Side {
  kLayers,
  kEmbedding,
  kFeedForward,
  kHeads,
  kKvHeads,
  kHeadSize,
  kHalfHead,
  kQuery,          ///< heads * head size
  kKeyValue,       ///< key-value heads * head size
  kQueryKeyValue,  ///< queries, keys and values in one
  kExperts,
  kExpertsUsed,
  kExpertFeedForward,
  kVocabulary,
  kContext,
};

/// A size: a multiple of one of the shape's, or the same in every shape of a design.
class Length {
 public:
  constexpr Length(Side side, int factor = 1) : side_(side), number_(factor) {}  // NOLINT: reads as a number
  constexpr Length(int number) : number_(number) {}                              // NOLINT

  [[nodiscard]] std::uint32_t in(const SynthShape& shape) const;

 private:
  std::optional<Side> side_;
  int number_ = 0;
};

constexpr Length operator*(int factor, Side side) { return {side, factor}; }

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
enum class LayerSet {
  kAll,
  kLeading,       ///< the first leading_layers
  kAfterLeading,  ///< all others
  kLast,          ///< the last last_layers
  kAttention,     ///< every attention_interval-th
  kRecurrent,     ///< all others
};

struct LayerTensors {
  std::span<const TensorTemplate> tensors;  ///< names follow `blk.N.`
  LayerSet layers = LayerSet::kAll;
};

enum class SynthTokenizer { kSentencePiece, kWordPiece };

/// What an architecture consists of: all that libllama's loader asks for.
struct SynthDesign {
  std::string_view name;
  std::string_view architecture;  ///< general.architecture
  SynthTokenizer tokenizer = SynthTokenizer::kSentencePiece;
  std::array<std::span<const KeyTemplate>, 4> keys;
  std::span<const TensorTemplate> input;
  std::array<LayerTensors, 8> layers;
  std::span<const TensorTemplate> output;
  std::uint32_t leading_layers = 0;
  std::uint32_t last_layers = 0;
  std::uint32_t attention_interval = 1;

  /// Fewer would leave some kind of layer out.
  [[nodiscard]] std::uint32_t fewest_layers() const;
  /// `layer` of `all` layers is one of `set`.
  [[nodiscard]] bool in_set(LayerSet set, std::uint32_t layer, std::uint32_t all) const;
};

/// Requires: a name that some shape has as its design.
[[nodiscard]] const SynthDesign& find_synth_design(std::string_view name);

/// Adds the architecture's keys, prefixed with its name.
void add_synth_keys(gguf_context* to, const SynthDesign& design, const SynthShape& shape);

}  // namespace brimful::synth
