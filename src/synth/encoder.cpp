// Encoders. They make an embedding of their input, and no text.

#include "synth/templates.h"

namespace brimful::synth {
namespace {

constexpr int kMean = 1;  // llama.cpp's number for pooling by the mean over the tokens.

constexpr auto kBertKeys = std::to_array<KeyTemplate>({
    {"vocab_size", Side::kVocabulary},
    {"context_length", Side::kContext},
    {"embedding_length", Side::kEmbedding},
    {"block_count", Side::kLayers},
    {"feed_forward_length", Side::kFeedForward},
    {"attention.head_count", Side::kHeads},
    {"attention.layer_norm_epsilon", 1e-12F},
    {"attention.causal", false},
    {"pooling_type", kMean},
});

constexpr auto kBertInput = std::to_array<TensorTemplate>({
    matrix("token_embd.weight", Side::kEmbedding, Side::kVocabulary),
    f32_matrix("position_embd.weight", Side::kEmbedding, Side::kContext),
    f32_matrix("token_types.weight", Side::kEmbedding, 2),
    norm("token_embd_norm.weight", Side::kEmbedding),
    bias("token_embd_norm.bias", Side::kEmbedding),
});

constexpr auto kBertLayer = std::to_array<TensorTemplate>({
    matrix("attn_q.weight", Side::kEmbedding, Side::kQuery, kSharp),
    bias("attn_q.bias", Side::kQuery),
    matrix("attn_k.weight", Side::kEmbedding, Side::kQuery, kSharp),
    bias("attn_k.bias", Side::kQuery),
    matrix("attn_v.weight", Side::kEmbedding, Side::kQuery),
    bias("attn_v.bias", Side::kQuery),
    matrix("attn_output.weight", Side::kQuery, Side::kEmbedding),
    bias("attn_output.bias", Side::kEmbedding),
    norm("attn_output_norm.weight", Side::kEmbedding),
    bias("attn_output_norm.bias", Side::kEmbedding),
    matrix("ffn_up.weight", Side::kEmbedding, Side::kFeedForward),
    bias("ffn_up.bias", Side::kFeedForward),
    matrix("ffn_down.weight", Side::kFeedForward, Side::kEmbedding),
    bias("ffn_down.bias", Side::kEmbedding),
    norm("layer_output_norm.weight", Side::kEmbedding),
    bias("layer_output_norm.bias", Side::kEmbedding),
});

constexpr auto kDesigns = std::to_array<SynthDesign>({
    {.name = "bert",
     .architecture = "bert",
     .tokenizer = SynthTokenizer::kWordPiece,
     .keys = {kBertKeys},
     .input = kBertInput,
     .layers = {{{kBertLayer}}},
     .output = {}},
});

}  // namespace

std::span<const SynthDesign> encoder_designs() { return kDesigns; }

}  // namespace brimful::synth
