#pragma once

#include <array>
#include <span>
#include <string_view>

#include "synth/design.h"

// The parts from which the designs are put together: groups of tensors and keys that several architectures
// share.

namespace brimful::synth {

constexpr TensorTemplate matrix(std::string_view name, Length row_length, Length rows, float gain = 1.0F) {
  return {.name = name, .shape = {row_length, rows, 1}, .gain = gain};
}

/// One matrix for each expert, in a tensor of three dimensions.
constexpr TensorTemplate expert_matrices(std::string_view name, Length row_length, Length rows) {
  return {.name = name, .shape = {row_length, rows, Side::kExperts}};
}

/// A small matrix that llama.cpp's quantiser leaves in F32.
constexpr TensorTemplate f32_matrix(std::string_view name, Length row_length, Length rows,
                                    float gain = 1.0F) {
  return {.name = name, .shape = {row_length, rows, 1}, .gain = gain, .type = GGML_TYPE_F32};
}

/// A vector of F32 numbers with that mean and standard deviation.
constexpr TensorTemplate vector(std::string_view name, Length length, float mean, float deviation) {
  return {.name = name, .shape = {length, 1, 1}, .fill = SynthFill::kVector, .gain = deviation, .mean = mean};
}

constexpr TensorTemplate norm(std::string_view name, Length length, float mean = 1.0F) {
  return vector(name, length, mean, 0.0F);
}

constexpr TensorTemplate bias(std::string_view name, Length length) {
  return vector(name, length, 0.0F, 0.1F);
}

constexpr TensorTemplate expert_biases(std::string_view name, Length length) {
  return {.name = name, .shape = {length, Side::kExperts, 1}, .fill = SynthFill::kVector, .gain = 0.1F};
}

constexpr TensorTemplate router() {
  return {.name = "ffn_gate_inp.weight",
          .shape = {Side::kEmbedding, Side::kExperts, 1},
          .fill = SynthFill::kRouter};
}

/// The gain of queries and keys, which makes attention sharp: each position attends to a few others, and the
/// next token depends on everything before it. With flat attention the model soon repeats a handful of
/// tokens.
inline constexpr float kSharp = 1.5F;

/// The gains of the token embedding (loud) and of the attention's output (quiet) in models with experts. A
/// router can only tell tokens apart while they differ. Attention adds an average of the earlier tokens,
/// which becomes alike for all of them, so it must stay small against the token itself.
inline constexpr float kLoud = 8.0F;
inline constexpr float kQuiet = 0.3F;

/// The keys that every decoder has.
inline constexpr auto kDecoderKeys = std::to_array<KeyTemplate>({
    {"vocab_size", Side::kVocabulary},
    {"context_length", Side::kContext},
    {"embedding_length", Side::kEmbedding},
    {"block_count", Side::kLayers},
    {"feed_forward_length", Side::kFeedForward},
    {"attention.layer_norm_rms_epsilon", Real::kRmsEpsilon},
});

inline constexpr auto kAttentionKeys = std::to_array<KeyTemplate>({
    {"attention.head_count", Side::kHeads},
    {"attention.head_count_kv", Side::kKvHeads},
    {"attention.key_length", Side::kHeadSize},
    {"attention.value_length", Side::kHeadSize},
    {"rope.dimension_count", Side::kHeadSize},
    {"rope.freq_base", Real::kRopeBase},
});

/// The keys of attention in which RoPE turns half of a head.
inline constexpr auto kHalfRotatedAttentionKeys = std::to_array<KeyTemplate>({
    {"attention.head_count", Side::kHeads},
    {"attention.head_count_kv", Side::kKvHeads},
    {"attention.key_length", Side::kHeadSize},
    {"attention.value_length", Side::kHeadSize},
    {"rope.dimension_count", Side::kHalfHead},
    {"rope.freq_base", Real::kRopeBase},
});

inline constexpr auto kExpertKeys = std::to_array<KeyTemplate>({
    {"expert_count", Side::kExperts},
    {"expert_used_count", Side::kExpertsUsed},
    {"expert_feed_forward_length", Side::kExpertFeedForward},
});

inline constexpr auto kInput =
    std::to_array<TensorTemplate>({matrix("token_embd.weight", Side::kEmbedding, Side::kVocabulary)});

inline constexpr auto kLoudInput =
    std::to_array<TensorTemplate>({matrix("token_embd.weight", Side::kEmbedding, Side::kVocabulary, kLoud)});

inline constexpr auto kOutput = std::to_array<TensorTemplate>({
    norm("output_norm.weight", Side::kEmbedding),
    matrix("output.weight", Side::kEmbedding, Side::kVocabulary),
});

inline constexpr auto kAttention = std::to_array<TensorTemplate>({
    norm("attn_norm.weight", Side::kEmbedding),
    matrix("attn_q.weight", Side::kEmbedding, Side::kQuery, kSharp),
    matrix("attn_k.weight", Side::kEmbedding, Side::kKeyValue, kSharp),
    matrix("attn_v.weight", Side::kEmbedding, Side::kKeyValue),
});

/// Attention whose queries and keys are normalised, so that the gain for sharpness is in the norms.
inline constexpr auto kNormedAttention = std::to_array<TensorTemplate>({
    norm("attn_norm.weight", Side::kEmbedding),
    matrix("attn_q.weight", Side::kEmbedding, Side::kQuery),
    norm("attn_q_norm.weight", Side::kHeadSize, kSharp),
    matrix("attn_k.weight", Side::kEmbedding, Side::kKeyValue),
    norm("attn_k_norm.weight", Side::kHeadSize, kSharp),
    matrix("attn_v.weight", Side::kEmbedding, Side::kKeyValue),
});

inline constexpr auto kAttentionBiases = std::to_array<TensorTemplate>({
    bias("attn_q.bias", Side::kQuery),
    bias("attn_k.bias", Side::kKeyValue),
    bias("attn_v.bias", Side::kKeyValue),
});

inline constexpr auto kAttentionOutput =
    std::to_array<TensorTemplate>({matrix("attn_output.weight", Side::kQuery, Side::kEmbedding)});

inline constexpr auto kQuietAttentionOutput =
    std::to_array<TensorTemplate>({matrix("attn_output.weight", Side::kQuery, Side::kEmbedding, kQuiet)});

inline constexpr auto kFeedForwardNorm =
    std::to_array<TensorTemplate>({norm("ffn_norm.weight", Side::kEmbedding)});

inline constexpr auto kFeedForward = std::to_array<TensorTemplate>({
    matrix("ffn_gate.weight", Side::kEmbedding, Side::kFeedForward),
    matrix("ffn_up.weight", Side::kEmbedding, Side::kFeedForward),
    matrix("ffn_down.weight", Side::kFeedForward, Side::kEmbedding),
});

constexpr std::array<TensorTemplate, 4> experts(Length feed_forward) {
  return {router(), expert_matrices("ffn_gate_exps.weight", Side::kEmbedding, feed_forward),
          expert_matrices("ffn_up_exps.weight", Side::kEmbedding, feed_forward),
          expert_matrices("ffn_down_exps.weight", feed_forward, Side::kEmbedding)};
}

inline constexpr auto kExperts = experts(Side::kExpertFeedForward);

inline constexpr auto kSharedExpert = std::to_array<TensorTemplate>({
    matrix("ffn_gate_shexp.weight", Side::kEmbedding, Side::kExpertFeedForward),
    matrix("ffn_up_shexp.weight", Side::kEmbedding, Side::kExpertFeedForward),
    matrix("ffn_down_shexp.weight", Side::kExpertFeedForward, Side::kEmbedding),
});

// The designs of each family.
[[nodiscard]] std::span<const SynthDesign> dense_designs();
[[nodiscard]] std::span<const SynthDesign> expert_designs();
[[nodiscard]] std::span<const SynthDesign> recurrent_designs();
[[nodiscard]] std::span<const SynthDesign> encoder_designs();

}  // namespace brimful::synth
