// Decoders that carry a state from token to token, alone or beside attention.

#include "synth/templates.h"

namespace brimful::synth {
namespace {

/// The keys of a state-space mixer with an inner size of 512, a state size of 128, one group, and heads of
/// 64.
constexpr auto kMamba2Keys = std::to_array<KeyTemplate>({
    {"ssm.conv_kernel", 4},
    {"ssm.inner_size", 512},
    {"ssm.state_size", 128},
    {"ssm.time_step_rank", 8},
    {"ssm.group_count", 1},
});

constexpr auto kMamba2Mixer = std::to_array<TensorTemplate>({
    norm("attn_norm.weight", Side::kEmbedding),
    matrix("ssm_in.weight", Side::kEmbedding, 512 + (512 + 2 * 128) + 8),
    f32_matrix("ssm_conv1d.weight", 4, 512 + 2 * 128),
    bias("ssm_conv1d.bias", 512 + 2 * 128),
    bias("ssm_dt.bias", 8),
    {.name = "ssm_a", .shape = {1, 8, 1}, .fill = SynthFill::kVector, .gain = 0.2F, .mean = -1.0F},
    {.name = "ssm_d", .shape = {1, 8, 1}, .fill = SynthFill::kVector, .gain = 0.2F, .mean = 1.0F},
    norm("ssm_norm.weight", 512),
    matrix("ssm_out.weight", 512, Side::kEmbedding),
});

/// The keys of gated delta nets with 2 key heads and 4 value heads of 64 each, so queries and keys are 128
/// wide.
constexpr auto kQwen3NextKeys = std::to_array<KeyTemplate>({
    {"full_attention_interval", 2},
    {"expert_shared_feed_forward_length", Side::kExpertFeedForward},
    {"ssm.conv_kernel", 4},
    {"ssm.inner_size", 256},
    {"ssm.state_size", 64},
    {"ssm.time_step_rank", 4},
    {"ssm.group_count", 2},
});

constexpr auto kDeltaNet = std::to_array<TensorTemplate>({
    matrix("attn_qkv.weight", Side::kEmbedding, 2 * 128 + 256),
    matrix("attn_gate.weight", Side::kEmbedding, 256),
    f32_matrix("ssm_conv1d.weight", 4, 2 * 128 + 256),
    bias("ssm_dt.bias", 4),
    vector("ssm_a", 4, -1.0F, 0.2F),
    matrix("ssm_ba.weight", Side::kEmbedding, 2 * 4),
    norm("ssm_norm.weight", 64),
    matrix("ssm_out.weight", 256, Side::kEmbedding, kQuiet),
});

constexpr auto kGatedAttention = std::to_array<TensorTemplate>({
    matrix("attn_q.weight", Side::kEmbedding, 2 * Side::kQuery),
    norm("attn_q_norm.weight", Side::kHeadSize, kSharp),
    matrix("attn_k.weight", Side::kEmbedding, Side::kKeyValue),
    norm("attn_k_norm.weight", Side::kHeadSize, kSharp),
    matrix("attn_v.weight", Side::kEmbedding, Side::kKeyValue),
    matrix("attn_output.weight", Side::kQuery, Side::kEmbedding, kQuiet),
});

constexpr auto kQwen3NextNorms = std::to_array<TensorTemplate>({
    norm("attn_norm.weight", Side::kEmbedding),
    norm("post_attention_norm.weight", Side::kEmbedding),
});

/// Experts whose gate and up matrices are one tensor.
constexpr auto kFusedExperts = std::to_array<TensorTemplate>({
    router(),
    expert_matrices("ffn_gate_up_exps.weight", Side::kEmbedding, 2 * Side::kExpertFeedForward),
    expert_matrices("ffn_down_exps.weight", Side::kExpertFeedForward, Side::kEmbedding),
    vector("ffn_gate_inp_shexp.weight", Side::kEmbedding, 0.0F, 0.06F),
});

/// The keys of a mixer beside attention, with an inner size of 256, a state size of 64, one group, and heads
/// of 64.
constexpr auto kFalconH1Keys = std::to_array<KeyTemplate>({
    {"ssm.conv_kernel", 4},
    {"ssm.inner_size", 256},
    {"ssm.state_size", 64},
    {"ssm.time_step_rank", 4},
    {"ssm.group_count", 1},
});

constexpr auto kFalconH1Mixer = std::to_array<TensorTemplate>({
    matrix("ssm_in.weight", Side::kEmbedding, 256 + (256 + 2 * 64) + 4),
    f32_matrix("ssm_conv1d.weight", 4, 256 + 2 * 64),
    bias("ssm_conv1d.bias", 256 + 2 * 64),
    bias("ssm_dt.bias", 4),
    {.name = "ssm_a", .shape = {1, 4, 1}, .fill = SynthFill::kVector, .gain = 0.2F, .mean = -1.0F},
    {.name = "ssm_d", .shape = {1, 4, 1}, .fill = SynthFill::kVector, .gain = 0.2F, .mean = 1.0F},
    norm("ssm_norm.weight", 256),
    matrix("ssm_out.weight", 256, Side::kEmbedding),
    norm("ffn_norm", Side::kEmbedding),
});

constexpr auto kDesigns = std::to_array<SynthDesign>({
    {.name = "mamba2",
     .architecture = "mamba2",
     .keys = {kDecoderKeys, kMamba2Keys},
     .input = kInput,
     .layers = {{{kMamba2Mixer}}},
     .output = kOutput},
    {.name = "qwen3next",
     .architecture = "qwen3next",
     .keys = {kDecoderKeys, kExpertKeys, kQwen3NextKeys, kHalfRotatedAttentionKeys},
     .input = kLoudInput,
     .layers = {{{kQwen3NextNorms},
                 {kDeltaNet, LayerSet::kRecurrent},
                 {kGatedAttention, LayerSet::kAttention},
                 {kFusedExperts},
                 {kSharedExpert}}},
     .output = kOutput,
     .attention_interval = 2},
    {.name = "falcon-h1",
     .architecture = "falcon-h1",
     .keys = {kDecoderKeys, kAttentionKeys, kFalconH1Keys},
     .input = kInput,
     .layers = {{{kAttention}, {kAttentionOutput}, {kFalconH1Mixer}, {kFeedForward}}},
     .output = kOutput},
});

}  // namespace

std::span<const SynthDesign> recurrent_designs() { return kDesigns; }

}  // namespace brimful::synth
