#include "synth/shape.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <array>
#include <vector>

namespace brimful::synth {
namespace {

/// A model of a few MB with the design of the same name.
constexpr SynthShape small(std::string_view name) {
  return {.name = name,
          .design = name,
          .layers = 4,
          .embedding = 256,
          .feed_forward = 512,
          .heads = 4,
          .kv_heads = 2,
          .head_size = 64,
          .vocabulary = 1024,
          .context = 1024};
}

constexpr SynthShape small(std::string_view name, std::string_view design) {
  SynthShape shape = small(name);
  shape.design = design;
  return shape;
}

constexpr SynthShape small_tied(std::string_view name) {
  SynthShape shape = small(name);
  shape.tied = true;
  return shape;
}

constexpr SynthShape small_with_experts(std::string_view name, std::uint32_t experts, std::uint32_t used,
                                        std::uint32_t layers = 4) {
  SynthShape shape = small(name);
  shape.layers = layers;
  shape.experts = experts;
  shape.experts_used = used;
  shape.expert_feed_forward = 256;
  return shape;
}

constexpr auto kShapes = std::to_array<SynthShape>({
    small("llama", "llama3"),
    small("qwen2"),
    small("qwen3"),
    small_tied("gemma3"),
    small("phi3"),
    small_with_experts("mixtral", 8, 2),
    small_with_experts("qwen3moe", 32, 2, 3),
    small_with_experts("deepseek2", 16, 4),
    small_with_experts("gpt-oss", 16, 4),
    small_with_experts("glm4moe", 16, 4),
    small_tied("mamba2"),
    small_with_experts("qwen3next", 16, 4),
    small("falcon-h1"),
    small("bert"),
    {.name = "llama-tiny",
     .design = "llama",
     .layers = 4,
     .embedding = 256,
     .feed_forward = 768,
     .heads = 4,
     .kv_heads = 2,
     .head_size = 64,
     .vocabulary = 1024,
     .context = 512},
    {.name = "llama-160m",
     .design = "llama",
     .layers = 12,
     .embedding = 768,
     .feed_forward = 3072,
     .heads = 12,
     .kv_heads = 12,
     .head_size = 64,
     .vocabulary = 32000,
     .context = 2048},
    {.name = "llama-1b",
     .design = "llama",
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
     .design = "llama",
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
     .design = "llama",
     .layers = 32,
     .embedding = 4096,
     .feed_forward = 11008,
     .heads = 32,
     .kv_heads = 32,
     .head_size = 128,
     .vocabulary = 32000,
     .context = 4096},
    {.name = "llama-8b",
     .design = "llama",
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
     .design = "llama",
     .layers = 80,
     .embedding = 8192,
     .feed_forward = 28672,
     .heads = 64,
     .kv_heads = 8,
     .head_size = 128,
     .vocabulary = 128256,
     .context = 8192,
     .rope_base = 500000.0F},
    {.name = "gpt-oss-120b",
     .design = "gpt-oss",
     .layers = 36,
     .embedding = 2880,
     .feed_forward = 2880,
     .heads = 64,
     .kv_heads = 8,
     .head_size = 64,
     .experts = 128,
     .experts_used = 4,
     .expert_feed_forward = 2880,
     .vocabulary = 201088,
     .context = 131072,
     .rope_base = 150000.0F},
    // This has half as many layers as Qwen3-30B-A3B and a smaller vocabulary, so that experts are most of
    // the model.
    {.name = "moe-6b",
     .design = "qwen3moe",
     .layers = 17,
     .embedding = 2048,
     .feed_forward = 6144,
     .heads = 32,
     .kv_heads = 4,
     .head_size = 128,
     .experts = 128,
     .experts_used = 8,
     .expert_feed_forward = 768,
     .vocabulary = 32000,
     .context = 8192,
     .rope_base = 1000000.0F,
     .rms_epsilon = 1e-6F},
});

}  // namespace

std::span<const SynthShape> synth_shapes() { return kShapes; }

Result<SynthShape> find_synth_shape(std::string_view name) {
  const auto found = std::ranges::find(kShapes, name, &SynthShape::name);
  if (found != kShapes.end()) return *found;
  std::vector<std::string_view> names;
  names.reserve(std::size(kShapes));
  for (const SynthShape& shape : kShapes) names.push_back(shape.name);
  return fail(ErrorCode::kInvalidArgument,
              fmt::format("there is no shape called '{}'; choose one of {}", name, fmt::join(names, ", ")));
}

}  // namespace brimful::synth
