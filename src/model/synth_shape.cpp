#include "model/synth_shape.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <cctype>

#include "base/check.h"

namespace strata::model {
namespace {

constexpr std::array<SynthShape, 7> kShapes{{
    {.name = "llama-tiny",
     .architecture = "llama",
     .layers = 4,
     .embedding = 256,
     .feed_forward = 768,
     .heads = 4,
     .kv_heads = 2,
     .head_size = 64,
     .vocabulary = 1024,
     .context = 512},
    {.name = "llama-160m",
     .architecture = "llama",
     .layers = 12,
     .embedding = 768,
     .feed_forward = 3072,
     .heads = 12,
     .kv_heads = 12,
     .head_size = 64,
     .vocabulary = 32000,
     .context = 2048},
    {.name = "llama-1b",
     .architecture = "llama",
     .layers = 16,
     .embedding = 2048,
     .feed_forward = 8192,
     .heads = 32,
     .kv_heads = 8,
     .head_size = 64,
     .vocabulary = 128256,
     .context = 8192,
     .rope_base = 500000.0F,
     .tied = true},
    {.name = "llama-3b",
     .architecture = "llama",
     .layers = 28,
     .embedding = 3072,
     .feed_forward = 8192,
     .heads = 24,
     .kv_heads = 8,
     .head_size = 128,
     .vocabulary = 128256,
     .context = 8192,
     .rope_base = 500000.0F,
     .tied = true},
    {.name = "llama-7b",
     .architecture = "llama",
     .layers = 32,
     .embedding = 4096,
     .feed_forward = 11008,
     .heads = 32,
     .kv_heads = 32,
     .head_size = 128,
     .vocabulary = 32000,
     .context = 4096},
    {.name = "llama-8b",
     .architecture = "llama",
     .layers = 32,
     .embedding = 4096,
     .feed_forward = 14336,
     .heads = 32,
     .kv_heads = 8,
     .head_size = 128,
     .vocabulary = 128256,
     .context = 8192,
     .rope_base = 500000.0F},
    {.name = "llama-70b",
     .architecture = "llama",
     .layers = 80,
     .embedding = 8192,
     .feed_forward = 28672,
     .heads = 64,
     .kv_heads = 8,
     .head_size = 128,
     .vocabulary = 128256,
     .context = 8192,
     .rope_base = 500000.0F},
}};

/// A size that a tensor's side takes from the shape.
enum class Side { kOne, kEmbedding, kFeedForward, kQuery, kKeyValue, kVocabulary };

/// A tensor of an architecture; a vector where `rows` is kOne.
struct TensorTemplate {
  std::string_view name;
  Side row_length;
  Side rows;
  float gain = 1.0F;
};

/// Sharp attention: each position looks at a few others, and what it says next depends on all that came
/// before. With flat attention the model soon repeats a handful of tokens.
constexpr float kSharp = 1.5F;

struct Architecture {
  std::string_view name;
  std::span<const TensorTemplate> layer;  ///< names follow `blk.N.`
};

constexpr std::array<TensorTemplate, 9> kLlamaLayer{{
    {"attn_norm.weight", Side::kEmbedding, Side::kOne},
    {"attn_q.weight", Side::kEmbedding, Side::kQuery, kSharp},
    {"attn_k.weight", Side::kEmbedding, Side::kKeyValue, kSharp},
    {"attn_v.weight", Side::kEmbedding, Side::kKeyValue},
    {"attn_output.weight", Side::kQuery, Side::kEmbedding},
    {"ffn_norm.weight", Side::kEmbedding, Side::kOne},
    {"ffn_gate.weight", Side::kEmbedding, Side::kFeedForward},
    {"ffn_up.weight", Side::kEmbedding, Side::kFeedForward},
    {"ffn_down.weight", Side::kFeedForward, Side::kEmbedding},
}};

constexpr std::array<Architecture, 1> kArchitectures{{{"llama", kLlamaLayer}}};

constexpr TensorTemplate kTokenEmbedding{"token_embd.weight", Side::kEmbedding, Side::kVocabulary};
constexpr TensorTemplate kOutputNorm{"output_norm.weight", Side::kEmbedding, Side::kOne};
constexpr TensorTemplate kOutput{"output.weight", Side::kEmbedding, Side::kVocabulary};

std::int64_t length(const SynthShape& shape, Side side) {
  switch (side) {
    case Side::kOne: return 1;
    case Side::kEmbedding: return shape.embedding;
    case Side::kFeedForward: return shape.feed_forward;
    case Side::kQuery: return std::int64_t{shape.heads} * shape.head_size;
    case Side::kKeyValue: return std::int64_t{shape.kv_heads} * shape.head_size;
    case Side::kVocabulary: return shape.vocabulary;
  }
  return 1;
}

SynthTensor make_tensor(const SynthShape& shape, const TensorTemplate& from, std::string name,
                        ggml_type type) {
  const bool vector = from.rows == Side::kOne;
  return {.name = std::move(name),
          .shape = {length(shape, from.row_length), length(shape, from.rows)},
          .type = vector ? GGML_TYPE_F32 : type,
          .fill = vector ? SynthFill::kOnes : SynthFill::kRandom,
          .gain = from.gain};
}

bool equal_ignoring_case(std::string_view a, std::string_view b) {
  return std::ranges::equal(
      a, b, [](unsigned char x, unsigned char y) { return std::tolower(x) == std::tolower(y); });
}

}  // namespace

std::span<const SynthShape> synth_shapes() { return kShapes; }

Result<SynthShape> find_synth_shape(std::string_view name) {
  const auto found = std::ranges::find(kShapes, name, &SynthShape::name);
  if (found != kShapes.end()) return *found;
  std::vector<std::string_view> names;
  for (const SynthShape& shape : kShapes) names.push_back(shape.name);
  return fail(ErrorCode::kInvalidArgument,
              fmt::format("there is no shape called '{}'; choose one of {}", name, fmt::join(names, ", ")));
}

std::vector<ggml_type> synth_types() {
  std::vector<ggml_type> types;
  for (int i = 0; i < GGML_TYPE_COUNT; ++i) {
    const auto type = static_cast<ggml_type>(i);
    // What cannot be turned back into floats is an integer, or a format for activations only.
    if (type == GGML_TYPE_F32 || ggml_get_type_traits(type)->to_float != nullptr) types.push_back(type);
  }
  return types;
}

Result<ggml_type> find_synth_type(std::string_view name) {
  std::vector<std::string> names;
  for (const ggml_type type : synth_types()) {
    if (equal_ignoring_case(ggml_type_name(type), name)) return type;
    names.push_back(synth_type_name(type));
  }
  return fail(
      ErrorCode::kInvalidArgument,
      fmt::format("there is no weight type called '{}'; choose one of {}", name, fmt::join(names, ", ")));
}

std::string synth_type_name(ggml_type type) {
  std::string name = ggml_type_name(type);
  std::ranges::transform(name, name.begin(),
                         [](unsigned char c) { return static_cast<char>(std::toupper(c)); });
  return name;
}

Result<std::vector<SynthTensor>> synth_tensors(const SynthShape& shape, ggml_type type) {
  const auto architecture = std::ranges::find(kArchitectures, shape.architecture, &Architecture::name);
  STRATA_CHECK(architecture != kArchitectures.end());

  std::vector<SynthTensor> tensors;
  const auto add = [&](const TensorTemplate& from, std::string name) {
    tensors.push_back(make_tensor(shape, from, std::move(name), type));
  };
  add(kTokenEmbedding, std::string(kTokenEmbedding.name));
  for (std::uint32_t layer = 0; layer < shape.layers; ++layer) {
    for (const TensorTemplate& from : architecture->layer)
      add(from, fmt::format("blk.{}.{}", layer, from.name));
  }
  add(kOutputNorm, std::string(kOutputNorm.name));
  if (!shape.tied) add(kOutput, std::string(kOutput.name));

  for (const SynthTensor& tensor : tensors) {
    if (tensor.shape[0] % ggml_blck_size(tensor.type) == 0) continue;
    return fail(ErrorCode::kInvalidArgument,
                fmt::format("{} has rows of {} weights, and {} needs a multiple of {}", tensor.name,
                            tensor.shape[0], synth_type_name(type), ggml_blck_size(type)));
  }
  return tensors;
}

}  // namespace strata::model
