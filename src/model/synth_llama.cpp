// Decoders like llama's, dense and with experts.

#include <array>

#include "model/synth_templates.h"

namespace strata::model {
namespace {

constexpr auto kKeys = std::to_array<KeyTemplate>({
    {"vocab_size", Side::kVocabulary},
    {"context_length", Side::kContext},
    {"embedding_length", Side::kEmbedding},
    {"block_count", Side::kLayers},
    {"feed_forward_length", Side::kFeedForward},
    {"attention.head_count", Side::kHeads},
    {"attention.head_count_kv", Side::kKvHeads},
    {"attention.key_length", Side::kHeadSize},
    {"attention.value_length", Side::kHeadSize},
    {"rope.dimension_count", Side::kHeadSize},
    {"attention.layer_norm_rms_epsilon", Real::kRmsEpsilon},
    {"rope.freq_base", Real::kRopeBase},
});

constexpr auto kExpertKeys = std::to_array<KeyTemplate>({
    {"expert_count", Side::kExperts},
    {"expert_used_count", Side::kExpertsUsed},
    {"expert_feed_forward_length", Side::kExpertFeedForward},
});

constexpr auto kInput =
    std::to_array<TensorTemplate>({matrix("token_embd.weight", Side::kEmbedding, Side::kVocabulary)});

/// For models with experts: a router tells tokens apart only while they differ. What attention adds, an
/// average of what came before, grows alike for all of them: it is quiet here, and the token itself is loud.
constexpr auto kLoudInput =
    std::to_array<TensorTemplate>({matrix("token_embd.weight", Side::kEmbedding, Side::kVocabulary, 8.0F)});
constexpr float kQuiet = 0.3F;

constexpr auto kOutput = std::to_array<TensorTemplate>({
    norm("output_norm.weight", Side::kEmbedding),
    matrix("output.weight", Side::kEmbedding, Side::kVocabulary),
});

constexpr auto kAttention = std::to_array<TensorTemplate>({
    norm("attn_norm.weight", Side::kEmbedding),
    matrix("attn_q.weight", Side::kEmbedding, Side::kQuery, kSharp),
    matrix("attn_k.weight", Side::kEmbedding, Side::kKeyValue, kSharp),
    matrix("attn_v.weight", Side::kEmbedding, Side::kKeyValue),
});

/// Queries and keys are normalised: the sharpness is the norms'.
constexpr auto kNormedAttention = std::to_array<TensorTemplate>({
    norm("attn_norm.weight", Side::kEmbedding),
    matrix("attn_q.weight", Side::kEmbedding, Side::kQuery),
    norm("attn_q_norm.weight", Side::kHeadSize, kSharp),
    matrix("attn_k.weight", Side::kEmbedding, Side::kKeyValue),
    norm("attn_k_norm.weight", Side::kHeadSize, kSharp),
    matrix("attn_v.weight", Side::kEmbedding, Side::kKeyValue),
});

constexpr auto kFeedForward = std::to_array<TensorTemplate>({
    matrix("attn_output.weight", Side::kQuery, Side::kEmbedding),
    norm("ffn_norm.weight", Side::kEmbedding),
    matrix("ffn_gate.weight", Side::kEmbedding, Side::kFeedForward),
    matrix("ffn_up.weight", Side::kEmbedding, Side::kFeedForward),
    matrix("ffn_down.weight", Side::kFeedForward, Side::kEmbedding),
});

constexpr auto kExperts = std::to_array<TensorTemplate>({
    matrix("attn_output.weight", Side::kQuery, Side::kEmbedding, kQuiet),
    norm("ffn_norm.weight", Side::kEmbedding),
    router(),
    expert_matrices("ffn_gate_exps.weight", Side::kEmbedding, Side::kExpertFeedForward),
    expert_matrices("ffn_up_exps.weight", Side::kEmbedding, Side::kExpertFeedForward),
    expert_matrices("ffn_down_exps.weight", Side::kExpertFeedForward, Side::kEmbedding),
});

constexpr auto kDesigns = std::to_array<SynthDesign>({
    {.name = "llama",
     .architecture = "llama",
     .keys = {kKeys},
     .input = kInput,
     .layers = {{{LayerSet::kAll, kAttention}, {LayerSet::kAll, kFeedForward}}},
     .output = kOutput},
    {.name = "mixtral",
     .architecture = "llama",
     .keys = {kKeys, kExpertKeys},
     .input = kLoudInput,
     .layers = {{{LayerSet::kAll, kAttention}, {LayerSet::kAll, kExperts}}},
     .output = kOutput},
    {.name = "qwen3moe",
     .architecture = "qwen3moe",
     .keys = {kKeys, kExpertKeys},
     .input = kLoudInput,
     .layers = {{{LayerSet::kAll, kNormedAttention}, {LayerSet::kAll, kExperts}}},
     .output = kOutput},
});

}  // namespace

std::span<const SynthDesign> llama_designs() { return kDesigns; }

}  // namespace strata::model
