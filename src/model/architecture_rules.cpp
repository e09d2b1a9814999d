#include "model/architecture_rules.h"

#include <algorithm>
#include <array>

namespace brimful::model {
namespace {

constexpr auto kPositiveKeys = std::to_array<PositiveKey>({
    {"arwkv7", "wkv.head_size"},
    {"rwkv6", "wkv.head_size"},
    {"rwkv6qwen2", "wkv.head_size"},
    {"rwkv7", "wkv.head_size"},
    {"falcon-h1", "ssm.time_step_rank"},
    {"granitehybrid", "ssm.time_step_rank"},
    {"jamba", "ssm.time_step_rank"},
    {"mamba", "ssm.time_step_rank"},
    {"mamba2", "ssm.time_step_rank"},
    {"nemotron_h", "ssm.time_step_rank"},
    {"nemotron_h_moe", "ssm.time_step_rank"},
    {"plamo2", "ssm.time_step_rank"},
    {"qwen35", "ssm.time_step_rank"},
    {"qwen35moe", "ssm.time_step_rank"},
    {"qwen3next", "ssm.time_step_rank"},
    {"qwen4exp", "ssm.time_step_rank"},
    {"falcon-h1", "ssm.group_count"},
    {"granitehybrid", "ssm.group_count"},
    {"mamba2", "ssm.group_count"},
    {"nemotron_h", "ssm.group_count"},
    {"nemotron_h_moe", "ssm.group_count"},
    {"qwen35", "ssm.group_count"},
    {"qwen35moe", "ssm.group_count"},
    {"qwen3next", "ssm.group_count"},
    {"minimax-01", "full_attention_interval"},
    {"qwen35", "full_attention_interval"},
    {"qwen35moe", "full_attention_interval"},
    {"qwen3next", "full_attention_interval"},
    {"qwen4exp", "full_attention_interval"},
    {"grovemoe", "experts_per_group"},
    {"deepseek4", "attention.output_group_count"},
    {"dflash", "attention.output_group_count"},
    {"minimax-m3", "attention.indexer.block_size"},
    {"dflash", "conv_group_size"},
    {"nanbeige", "num_loops"},
    {"hrm_text", "hrm.layers_per_stack"},
    {"hrm_text", "hrm.h_cycles"},
    {"hrm_text", "hrm.l_cycles"},
    {"deepseek4", "hyper_connection.count"},
    {"dflash", "hyper_connection.count"},
    {"hy_v4", "hyper_connection.count"},
    {"qwen4exp", "hyper_connection.count"},
    {"ernie4_5-moe", "interleave_moe_layer_step"},
});

constexpr auto kEqualHeadLengths = std::to_array<std::string_view>({
    "afmoe",         "apertus",        "arcee",         "arctic",         "baichuan",     "bailingmoe2",
    "bert",          "bitnet",         "bloom",         "chameleon",      "chatglm",      "codeshell",
    "cogvlm",        "cohere2",        "cohere2moe",    "command-r",      "dbrx",         "deci",
    "deepseek",      "dots1",          "dream",         "eagle3",         "ernie4_5",     "ernie4_5-moe",
    "eurobert",      "exaone",         "exaone-moe",    "exaone4",        "falcon",       "glm4",
    "glm4moe",       "gpt-oss",        "gpt2",          "gptneox",        "granite",      "granite_swa",
    "granitehybrid", "granitemoe",     "graniteswitch", "grok",           "grovemoe",     "hunyuan-dense",
    "hunyuan-moe",   "hunyuan_vl",     "hy_v3",         "internlm2",      "jais",         "jais2",
    "laguna",        "llada",          "llada-moe",     "llama",          "llama4",       "maincoder",
    "maple",         "mellum",         "minicpm",       "minimax-01",     "minimax-m2",   "minimax-m3",
    "mistral3",      "modern-bert",    "mpt",           "muse-glimmer",   "nanbeige",     "nemotron",
    "nemotron_h",    "nemotron_h_moe", "neo-bert",      "olmo",           "olmo2",        "olmoe",
    "openelm",       "orion",          "paddleocr",     "pangu-embedded", "phi2",         "phi3",
    "plamo",         "qwen",           "qwen2",         "qwen2moe",       "qwen2vl",      "qwen3",
    "qwen35",        "qwen35moe",      "qwen3moe",      "qwen3next",      "qwen3vl",      "qwen3vlmoe",
    "qwen4exp",      "refact",         "rnd1",          "seed_oss",       "smallthinker", "smollm3",
    "spark2_5",      "stablelm",       "starcoder",     "starcoder2",     "t5",           "talkie",
    "xverse",
});

constexpr auto kFullRope = std::to_array<std::string_view>({
    "apertus",   "arcee",      "arctic",        "baichuan",       "chameleon",  "codeshell",
    "cogvlm",    "cohere2moe", "dbrx",          "deci",           "deepseek",   "dots1",
    "dream",     "ernie4_5",   "ernie4_5-moe",  "exaone",         "exaone-moe", "exaone4",
    "falcon",    "gpt-oss",    "granite",       "granite_swa",    "granitemoe", "graniteswitch",
    "grok",      "grovemoe",   "hunyuan-dense", "hunyuan-moe",    "hunyuan_vl", "hy_v3",
    "internlm2", "jais2",      "llada",         "llada-moe",      "llama",      "llama4",
    "maincoder", "mellum",     "minicpm",       "mistral3",       "olmo",       "olmo2",
    "olmoe",     "orion",      "paddleocr",     "pangu-embedded", "plamo",      "qwen2",
    "qwen2moe",  "qwen2vl",    "qwen3",         "qwen3moe",       "qwen3vl",    "qwen3vlmoe",
    "rnd1",      "seed_oss",   "smallthinker",  "smollm3",        "starcoder2", "talkie",
    "xverse",
});

constexpr auto kExperts = std::to_array<std::string_view>({
    "bailingmoe2",
    "glm4moe",
    "grovemoe",
    "lfm2moe",
    "llada-moe",
    "mellum",
    "qwen2moe",
    "qwen35moe",
    "qwen3moe",
    "qwen3vlmoe",
    "rnd1",
    "smallthinker",
    "qwen4exp",
});

constexpr auto kMayLackHeads = std::to_array<std::string_view>({
    "arwkv7",     "bailingmoe3", "deci",           "falcon-h1",  "granitehybrid", "jamba",
    "kimi-k3",    "kimi-linear", "lfm2",           "lfm2moe",    "mamba",         "mamba2",
    "minimax-01", "nemotron_h",  "nemotron_h_moe", "plamo2",     "qwen35",        "qwen35moe",
    "qwen3next",  "qwen4exp",    "rwkv6",          "rwkv6qwen2", "rwkv7",         "wavtokenizer-dec",
});

constexpr auto kHeadsFillEmbedding = std::to_array<std::string_view>({
    "arctic",    "baichuan", "bert",          "chameleon",      "codeshell",  "cohere2",
    "command-r", "deepseek", "deepseek2-ocr", "dream",          "eurobert",   "grok",
    "internlm2", "jamba",    "jina-bert-v2",  "jina-bert-v3",   "lfm2",       "lfm2moe",
    "llada-moe", "nemotron", "nomic-bert",    "nomic-bert-moe", "olmo",       "olmo2",
    "olmoe",     "orion",    "phi2",          "phi3",           "phimoe",     "plamo",
    "qwen2",     "qwen2moe", "qwen2vl",       "stablelm",       "starcoder2", "xverse",
});

constexpr auto kSameHeadsInWindows = std::to_array<std::string_view>({"gpt-oss"});

constexpr auto kNeedsGating = std::to_array<std::string_view>({
    "bailingmoe2",
    "bailingmoe3",
    "deepseek32",
    "deepseek4",
    "dflash",
    "dots1",
    "dots3note",
    "exaone-moe",
    "hy_v4",
    "kimi-k3",
    "kimi-linear",
    "lfm2moe",
    "minimax-m2",
    "minimax-m3",
    "smallthinker",
});
constexpr auto kDefaultGating = std::to_array<std::string_view>({
    "afmoe",
    "cohere2moe",
    "deepseek2",
    "deepseek2-ocr",
    "glm-dsa",
    "glm4moe",
    "hy_v3",
    "laguna",
    "step35",
});

constexpr auto kNeedsRopeSections = std::to_array<std::string_view>({
    "paddleocr",
    "qwen2vl",
    "qwen35",
    "qwen35moe",
    "qwen3tts",
    "qwen3vl",
    "qwen3vlmoe",
    "qwen4exp",
});
constexpr auto kMayHaveRopeSections =
    std::to_array<std::string_view>({"dflash", "glm4", "glm4moe", "hunyuan_vl"});

constexpr auto kWindowPatterns = std::to_array<std::string_view>({
    "afmoe",
    "cohere2",
    "cohere2moe",
    "dflash",
    "dots3note",
    "exaone-moe",
    "exaone4",
    "gemma-embedding",
    "gemma2",
    "gemma3",
    "gemma3n",
    "gemma4",
    "gemma4-assistant",
    "gpt-oss",
    "granite_swa",
    "laguna",
    "llama4",
    "maple",
    "mellum",
    "mimo2",
    "modern-bert",
    "muse-glimmer",
    "olmo2",
    "plamo3",
    "smallthinker",
    "spark2_5",
    "step35",
});

constexpr auto kInnerSizeOfHeads = std::to_array<std::string_view>({"qwen35", "qwen35moe", "qwen3next"});
constexpr auto kDoubleInnerSize = std::to_array<std::string_view>({"granitehybrid", "jamba"});

bool contains(std::span<const std::string_view> list, std::string_view name) {
  return std::ranges::find(list, name) != list.end();
}

}  // namespace

std::span<const PositiveKey> positive_keys() { return kPositiveKeys; }
bool needs_equal_head_lengths(std::string_view architecture) {
  return contains(kEqualHeadLengths, architecture);
}
bool needs_full_rope(std::string_view architecture) { return contains(kFullRope, architecture); }
bool needs_experts(std::string_view architecture) { return contains(kExperts, architecture); }
bool may_lack_heads(std::string_view architecture) { return contains(kMayLackHeads, architecture); }
bool needs_heads_to_fill_embedding(std::string_view architecture) {
  return contains(kHeadsFillEmbedding, architecture);
}
bool needs_same_heads_in_windows(std::string_view architecture) {
  return contains(kSameHeadsInWindows, architecture);
}
bool needs_gating(std::string_view architecture) { return contains(kNeedsGating, architecture); }
bool has_default_gating(std::string_view architecture) { return contains(kDefaultGating, architecture); }
bool needs_rope_sections(std::string_view architecture) { return contains(kNeedsRopeSections, architecture); }
bool may_have_rope_sections(std::string_view architecture) {
  return contains(kMayHaveRopeSections, architecture);
}
bool reads_window_pattern(std::string_view architecture) { return contains(kWindowPatterns, architecture); }
bool needs_inner_size_of_heads(std::string_view architecture) {
  return contains(kInnerSizeOfHeads, architecture);
}
bool needs_double_inner_size(std::string_view architecture) {
  return contains(kDoubleInnerSize, architecture);
}

}  // namespace brimful::model
