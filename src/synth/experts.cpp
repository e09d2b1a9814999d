// Decoders with a mixture of experts.

#include "synth/templates.h"

namespace brimful::synth {
namespace {

/// In llama's architecture an expert is as wide as a dense layer.
constexpr auto kMixtralKeys = std::to_array<KeyTemplate>({
    {"expert_count", Side::kExperts},
    {"expert_used_count", Side::kExpertsUsed},
});

constexpr auto kMixtralExperts = experts(Side::kFeedForward);

constexpr int kSigmoid = 2;  // llama.cpp's number for gating by a sigmoid.

/// The keys of a model like DeepSeek V3: it has groups of experts, and a bias that only influences the
/// choice of experts.
constexpr auto kDeepseek2Keys = std::to_array<KeyTemplate>({
    {"leading_dense_block_count", 1},
    {"expert_shared_count", 1},
    {"expert_weights_scale", 2.5F},
    {"expert_weights_norm", true},
    {"expert_gating_func", kSigmoid},
    {"expert_group_count", 4},
    {"expert_group_used_count", 2},
    {"attention.head_count", Side::kHeads},
    {"attention.head_count_kv", 1},
    {"attention.q_lora_rank", 128},
    {"attention.kv_lora_rank", 256},
    {"attention.key_length", 256 + 32},
    {"attention.value_length", 256},
    {"attention.key_length_mla", 64 + 32},
    {"attention.value_length_mla", 64},
    {"rope.dimension_count", 32},
    {"rope.freq_base", Real::kRopeBase},
    {"rope.scaling.type", std::string_view("yarn")},
    {"rope.scaling.factor", 4.0F},
    {"rope.scaling.original_context_length", 256},
    {"rope.scaling.yarn_log_multiplier", 0.1F},
});

/// Multi-head latent attention: keys and values come from one narrow vector.
constexpr auto kLatentAttention = std::to_array<TensorTemplate>({
    norm("attn_norm.weight", Side::kEmbedding),
    matrix("attn_q_a.weight", Side::kEmbedding, 128),
    norm("attn_q_a_norm.weight", 128),
    matrix("attn_q_b.weight", 128, (64 + 32) * Side::kHeads, kSharp),
    matrix("attn_kv_a_mqa.weight", Side::kEmbedding, 256 + 32, kSharp),
    norm("attn_kv_a_norm.weight", 256),
    {.name = "attn_k_b.weight", .shape = {64, 256, Side::kHeads}},
    {.name = "attn_v_b.weight", .shape = {256, 64, Side::kHeads}},
    matrix("attn_output.weight", 64 * Side::kHeads, Side::kEmbedding, kQuiet),
    norm("ffn_norm.weight", Side::kEmbedding),
});

constexpr auto kSelectionBias =
    std::to_array<TensorTemplate>({vector("exp_probs_b.bias", Side::kExperts, 0.0F, 0.05F)});

constexpr auto kGptOssKeys = std::to_array<KeyTemplate>({
    {"attention.sliding_window", 64},
    {"rope.scaling.type", std::string_view("yarn")},
    {"rope.scaling.factor", 32.0F},
    {"rope.scaling.original_context_length", 64},
});

constexpr auto kGptOssAttention = std::to_array<TensorTemplate>({
    bias("attn_output.bias", Side::kEmbedding),
    vector("attn_sinks.weight", Side::kHeads, 0.0F, 1.0F),
    norm("post_attention_norm.weight", Side::kEmbedding),
});

constexpr TensorTemplate mxfp4(TensorTemplate tensor) {
  tensor.type = GGML_TYPE_MXFP4;
  return tensor;
}

constexpr auto kGptOssExperts = std::to_array<TensorTemplate>({
    router(),
    bias("ffn_gate_inp.bias", Side::kExperts),
    mxfp4(expert_matrices("ffn_gate_exps.weight", Side::kEmbedding, Side::kExpertFeedForward)),
    expert_biases("ffn_gate_exps.bias", Side::kExpertFeedForward),
    mxfp4(expert_matrices("ffn_up_exps.weight", Side::kEmbedding, Side::kExpertFeedForward)),
    expert_biases("ffn_up_exps.bias", Side::kExpertFeedForward),
    mxfp4(expert_matrices("ffn_down_exps.weight", Side::kExpertFeedForward, Side::kEmbedding)),
    expert_biases("ffn_down_exps.bias", Side::kEmbedding),
});

/// The keys of a model like GLM-4.5: RoPE turns half of a head, and a last layer, which plain decoding
/// skips, predicts further tokens.
constexpr auto kGlm4MoeKeys = std::to_array<KeyTemplate>({
    {"leading_dense_block_count", 1},
    {"nextn_predict_layers", 1},
    {"expert_shared_count", 1},
    {"expert_weights_scale", 1.5F},
    {"expert_weights_norm", true},
    {"expert_gating_func", kSigmoid},
});

constexpr auto kGlm4MoeAttention = std::to_array<TensorTemplate>({
    matrix("attn_output.weight", Side::kQuery, Side::kEmbedding, kQuiet),
    norm("post_attention_norm.weight", Side::kEmbedding),
});

constexpr auto kNextnLayer = std::to_array<TensorTemplate>({
    matrix("nextn.eh_proj.weight", 2 * Side::kEmbedding, Side::kEmbedding),
    norm("nextn.enorm.weight", Side::kEmbedding),
    norm("nextn.hnorm.weight", Side::kEmbedding),
});

constexpr auto kDesigns = std::to_array<SynthDesign>({
    {.name = "mixtral",
     .architecture = "llama",
     .keys = {kDecoderKeys, kAttentionKeys, kMixtralKeys},
     .input = kLoudInput,
     .layers = {{{kAttention}, {kQuietAttentionOutput}, {kFeedForwardNorm}, {kMixtralExperts}}},
     .output = kOutput},
    {.name = "qwen3moe",
     .architecture = "qwen3moe",
     .keys = {kDecoderKeys, kAttentionKeys, kExpertKeys},
     .input = kLoudInput,
     .layers = {{{kNormedAttention}, {kQuietAttentionOutput}, {kFeedForwardNorm}, {kExperts}}},
     .output = kOutput},
    {.name = "deepseek2",
     .architecture = "deepseek2",
     .keys = {kDecoderKeys, kExpertKeys, kDeepseek2Keys},
     .input = kLoudInput,
     .layers = {{{kLatentAttention},
                 {kFeedForward, LayerSet::kLeading},
                 {kExperts, LayerSet::kAfterLeading},
                 {kSelectionBias, LayerSet::kAfterLeading},
                 {kSharedExpert, LayerSet::kAfterLeading}}},
     .output = kOutput,
     .leading_layers = 1},
    {.name = "gpt-oss",
     .architecture = "gpt-oss",
     .keys = {kDecoderKeys, kAttentionKeys, kExpertKeys, kGptOssKeys},
     .input = kLoudInput,
     .layers =
         {{{kAttention}, {kAttentionBiases}, {kQuietAttentionOutput}, {kGptOssAttention}, {kGptOssExperts}}},
     .output = kOutput},
    {.name = "glm4moe",
     .architecture = "glm4moe",
     .keys = {kDecoderKeys, kExpertKeys, kGlm4MoeKeys, kHalfRotatedAttentionKeys},
     .input = kLoudInput,
     .layers = {{{kNormedAttention},
                 {kAttentionBiases},
                 {kGlm4MoeAttention},
                 {kFeedForward, LayerSet::kLeading},
                 {kExperts, LayerSet::kAfterLeading},
                 {kSelectionBias, LayerSet::kAfterLeading},
                 {kSharedExpert, LayerSet::kAfterLeading},
                 {kNextnLayer, LayerSet::kLast}}},
     .output = kOutput,
     .leading_layers = 1,
     .last_layers = 1},
});

}  // namespace

std::span<const SynthDesign> expert_designs() { return kDesigns; }

}  // namespace brimful::synth
