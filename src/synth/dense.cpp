// Decoders that use all their weights for each token.

#include "synth/templates.h"

namespace brimful::synth {
namespace {

/// The input tensors with the RoPE factors of Llama 3.
constexpr auto kRopeFactorsInput = std::to_array<TensorTemplate>({
    matrix("token_embd.weight", Side::kEmbedding, Side::kVocabulary),
    vector("rope_freqs.weight", Side::kHalfHead, 4.0F, 1.0F),
});

constexpr auto kGemma3Keys = std::to_array<KeyTemplate>({
    {"attention.sliding_window", 64},
    {"attention.sliding_window_pattern", 2},
    {"rope.freq_base_swa", 10000.0F},
});

constexpr auto kAttentionPostNorm =
    std::to_array<TensorTemplate>({norm("post_attention_norm.weight", Side::kEmbedding)});

constexpr auto kFeedForwardPostNorm =
    std::to_array<TensorTemplate>({norm("post_ffw_norm.weight", Side::kEmbedding)});

constexpr auto kPhi3Keys = std::to_array<KeyTemplate>({
    {"rope.scaling.original_context_length", 256},
    {"rope.scaling.attn_factor", 1.1F},
    {"attention.sliding_window", 262144},
});

constexpr auto kPhi3Input = std::to_array<TensorTemplate>({
    matrix("token_embd.weight", Side::kEmbedding, Side::kVocabulary),
    vector("rope_factors_long.weight", Side::kHalfHead, 4.0F, 1.0F),
    vector("rope_factors_short.weight", Side::kHalfHead, 1.1F, 0.02F),
});

constexpr auto kPhi3Layer = std::to_array<TensorTemplate>({
    norm("attn_norm.weight", Side::kEmbedding),
    matrix("attn_qkv.weight", Side::kEmbedding, Side::kQueryKeyValue, kSharp),
    matrix("attn_output.weight", Side::kQuery, Side::kEmbedding),
    norm("ffn_norm.weight", Side::kEmbedding),
    matrix("ffn_up.weight", Side::kEmbedding, 2 * Side::kFeedForward),
    matrix("ffn_down.weight", Side::kFeedForward, Side::kEmbedding),
});

constexpr auto kDesigns = std::to_array<SynthDesign>({
    {.name = "llama",
     .architecture = "llama",
     .keys = {kDecoderKeys, kAttentionKeys},
     .input = kInput,
     .layers = {{{kAttention}, {kAttentionOutput}, {kFeedForwardNorm}, {kFeedForward}}},
     .output = kOutput},
    {.name = "llama3",
     .architecture = "llama",
     .keys = {kDecoderKeys, kAttentionKeys},
     .input = kRopeFactorsInput,
     .layers = {{{kAttention}, {kAttentionOutput}, {kFeedForwardNorm}, {kFeedForward}}},
     .output = kOutput},
    {.name = "qwen2",
     .architecture = "qwen2",
     .keys = {kDecoderKeys, kAttentionKeys},
     .input = kInput,
     .layers = {{{kAttention}, {kAttentionBiases}, {kAttentionOutput}, {kFeedForwardNorm}, {kFeedForward}}},
     .output = kOutput},
    {.name = "qwen3",
     .architecture = "qwen3",
     .keys = {kDecoderKeys, kAttentionKeys},
     .input = kInput,
     .layers = {{{kNormedAttention}, {kAttentionOutput}, {kFeedForwardNorm}, {kFeedForward}}},
     .output = kOutput},
    {.name = "gemma3",
     .architecture = "gemma3",
     .keys = {kDecoderKeys, kAttentionKeys, kGemma3Keys},
     .input = kInput,
     .layers = {{{kNormedAttention},
                 {kAttentionOutput},
                 {kAttentionPostNorm},
                 {kFeedForwardNorm},
                 {kFeedForward},
                 {kFeedForwardPostNorm}}},
     .output = kOutput},
    {.name = "phi3",
     .architecture = "phi3",
     .keys = {kDecoderKeys, kAttentionKeys, kPhi3Keys},
     .input = kPhi3Input,
     .layers = {{{kPhi3Layer}}},
     .output = kOutput},
});

}  // namespace

std::span<const SynthDesign> dense_designs() { return kDesigns; }

}  // namespace brimful::synth
