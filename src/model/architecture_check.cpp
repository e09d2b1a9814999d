#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <string>

#include "model/architecture_rules.h"
#include "model/gguf_checks.h"
#include "model/hyper_parameters.h"

namespace brimful::model {
namespace {

// The largest number of experts that the pinned llama.cpp supports: its LLAMA_MAX_EXPERTS.
constexpr std::uint32_t kMaxExperts = 1024;
// This bound is far above any model. Without a bound libllama allocates 40 bytes for each token that the
// header claims.
constexpr std::uint32_t kMaxVocabulary = 4 * 1024 * 1024;

Result<std::uint32_t> required_size(const Hyper& hyper, std::string_view key, std::uint32_t largest) {
  BRIMFUL_TRY(const auto value, hyper.u32(key));
  if (!value) return implausible(fmt::format("has no {}", in_quotes(hyper.full(key))));
  if (*value == 0 || *value > largest) {
    return implausible(fmt::format("{} is {}, not 1 to {}", in_quotes(hyper.full(key)), *value, largest));
  }
  return *value;
}

/// Checks the width of the recurrent state, for architectures in which libllama also computes it in another
/// way.
Status check_recurrent_sizes(const Hyper& hyper, std::uint32_t embedding) {
  BRIMFUL_TRY(const auto inner, hyper.u32("ssm.inner_size"));
  if (!inner) return {};
  if (needs_double_inner_size(hyper.name()) && *inner != 2 * embedding) {
    return implausible(fmt::format("{} is {}, not twice the embedding length",
                                   in_quotes(hyper.full("ssm.inner_size")), *inner));
  }
  if (!needs_inner_size_of_heads(hyper.name())) return {};
  BRIMFUL_TRY(const std::uint64_t state, hyper.u32_or("ssm.state_size", 0));
  BRIMFUL_TRY(const std::uint64_t heads, hyper.u32_or("ssm.time_step_rank", 0));
  if (*inner == state * heads) return {};
  return implausible(fmt::format("{} is {}, not that of {} heads of {}",
                                 in_quotes(hyper.full("ssm.inner_size")), *inner, heads, state));
}

Status check_sizes(const Hyper& hyper, std::uint32_t layers) {
  constexpr std::uint32_t kMaxEmbedding = 1024 * 1024;
  BRIMFUL_TRY(const std::uint32_t embedding, required_size(hyper, "embedding_length", kMaxEmbedding));
  BRIMFUL_TRY(const std::uint32_t nextn, hyper.u32_or("nextn_predict_layers", 0));
  if (nextn >= layers) {
    return implausible(fmt::format("{} of {} layers predict further tokens, so none is left", nextn, layers));
  }
  BRIMFUL_TRY(const std::uint32_t vocabulary, hyper.u32_or("vocab_size", 0));
  if (vocabulary > kMaxVocabulary) {
    return implausible(fmt::format("{} is {}", in_quotes(hyper.full("vocab_size")), vocabulary));
  }
  return check_recurrent_sizes(hyper, embedding);
}

Status check_positive_keys(const Hyper& hyper) {
  for (const PositiveKey& rule : positive_keys()) {
    if (rule.architecture != hyper.name()) continue;
    // When the key has another type, libllama refuses it or does not read it.
    const auto value = hyper.u32(rule.key);
    if (value && *value == 0U) return implausible(fmt::format("{} is 0", in_quotes(hyper.full(rule.key))));
  }
  return {};
}

/// Judges how the router's numbers become weights: libllama aborts on a way that it does not know.
/// An architecture that never reads the key is not judged.
Status check_gating(const Hyper& hyper, std::uint32_t experts) {
  // The values of LLAMA_EXPERT_GATING_FUNC_TYPE_*, which count from 1; 0 is 'none'.
  constexpr std::uint32_t kWays = 4;
  const bool needed = needs_gating(hyper.name());
  if (experts == 0 || (!needed && !has_default_gating(hyper.name()))) return {};
  const auto read = hyper.u32("expert_gating_func");
  if (!read) return {};  // The key has another type: libllama refuses it, or does not read it.
  const std::uint32_t way = read->value_or(0);
  if (way <= kWays && (way > 0 || !needed)) return {};
  return fail(ErrorCode::kUnsupported, fmt::format("{} is {}; llama.cpp knows 1 to {}: update brimful",
                                                   in_quotes(hyper.full("expert_gating_func")), way, kWays));
}

Status check_expert_groups(const Hyper& hyper, std::uint32_t experts) {
  BRIMFUL_TRY(const std::uint32_t groups, hyper.u32_or("expert_group_count", 0));
  BRIMFUL_TRY(const std::uint32_t used, hyper.u32_or("expert_group_used_count", 0));
  if (groups == 0) return {};
  if (groups >= experts)
    return implausible(fmt::format("has {} expert groups of {} experts", groups, experts));
  if (groups > 1 && (experts % groups != 0 || used == 0 || used >= groups)) {
    return implausible(fmt::format("uses {} of {} expert groups of {} experts", used, groups, experts));
  }
  return {};
}

Status check_experts(const Hyper& hyper, std::uint32_t layers) {
  BRIMFUL_TRY(std::uint32_t experts, hyper.u32_or("expert_count", 0));
  BRIMFUL_TRY(const auto used, hyper.per_layer("expert_used_count", layers));
  std::uint32_t most_used = used.empty() ? 0 : *std::ranges::max_element(used);
  const bool one_is_none = hyper.name() == "hunyuan_vl" || hyper.name() == "hunyuan-dense";
  if (one_is_none && experts <= 1) experts = most_used = 0;
  if (experts > kMaxExperts) {
    return fail(ErrorCode::kUnsupported,
                fmt::format("has {} experts; llama.cpp supports {}", experts, kMaxExperts));
  }
  if (most_used > experts || (experts > 0 && most_used == 0)) {
    return implausible(fmt::format("uses {} of {} experts", most_used, experts));
  }
  if (needs_experts(hyper.name()) && (experts == 0 || used.front() == 0)) {
    return implausible(fmt::format("is a mixture-of-experts model that uses no expert ({} in all)", experts));
  }
  BRIMFUL_TRY_VOID(check_gating(hyper, experts));
  return check_expert_groups(hyper, experts);
}

Status check_loops(const Hyper& hyper, std::uint32_t layers) {
  if (hyper.name() != "nanbeige") return {};
  BRIMFUL_TRY(const std::uint32_t loops, hyper.u32_or("num_loops", 1));
  if (loops > kMaxLayers / layers) return implausible(fmt::format("runs {} layers {} times", layers, loops));
  return {};
}

Status check_stacks(const Hyper& hyper, std::uint32_t layers) {
  if (hyper.name() != "hrm_text") return {};
  BRIMFUL_TRY(const std::uint64_t per_stack, hyper.u32_or("hrm.layers_per_stack", 0));
  if (per_stack == 0) return {};
  BRIMFUL_TRY(const std::uint64_t high, hyper.u32_or("hrm.h_cycles", 1));
  BRIMFUL_TRY(const std::uint64_t low, hyper.u32_or("hrm.l_cycles", 1));
  const bool fits = per_stack <= kMaxLayers && high <= kMaxLayers && low <= kMaxLayers;
  if (!fits || per_stack * high * (low + 1) != layers) {
    return implausible(
        fmt::format("{} layers are not {} stacks' worth of {} x ({} + 1)", layers, per_stack, high, low));
  }
  return {};
}

Status check_rope_scaling(const GgufValues& values, const Hyper& hyper) {
  BRIMFUL_TRY(const auto type, values.string(hyper.full("rope.scaling.type")));
  constexpr auto kKnown = std::to_array<std::string_view>({"none", "linear", "yarn", "longrope"});
  if (!type || std::ranges::find(kKnown, *type) != kKnown.end()) return {};
  return fail(ErrorCode::kUnsupported,
              fmt::format("needs RoPE scaling of type {}; llama.cpp knows none, linear, "
                          "yarn and longrope: update brimful",
                          in_quotes(*type)));
}

/// ggml asserts that the epsilon of a norm is not negative. A NaN would fail that assertion, too.
Status check_epsilons(const GgufValues& values, const Hyper& hyper) {
  for (const char* key : {"attention.layer_norm_epsilon", "attention.layer_norm_rms_epsilon",
                          "attention.group_norm_epsilon", "hyper_connection.epsilon"}) {
    BRIMFUL_TRY(const auto epsilon, values.f32(hyper.full(key)));
    if (epsilon && !(*epsilon >= 0.0F && *epsilon <= 1.0F)) {
      return implausible(fmt::format("{} is {}", in_quotes(hyper.full(key)), *epsilon));
    }
  }
  return {};
}

}  // namespace

Status check_architecture(const GgufValues& values) {
  BRIMFUL_TRY(const auto architecture, values.string("general.architecture"));
  if (!architecture || architecture->empty()) {
    return implausible("has no 'general.architecture', so what model it is cannot be told");
  }
  if (*architecture == "clip") {
    return fail(ErrorCode::kUnsupported,
                "is a vision projector, which belongs to a model and is none: give the model's own file");
  }
  const Hyper hyper(values, *architecture);
  BRIMFUL_TRY(const std::uint32_t layers, required_size(hyper, "block_count", kMaxLayers));
  BRIMFUL_TRY_VOID(check_sizes(hyper, layers));
  BRIMFUL_TRY_VOID(check_positive_keys(hyper));
  BRIMFUL_TRY_VOID(check_experts(hyper, layers));
  BRIMFUL_TRY_VOID(check_attention(hyper, layers));
  BRIMFUL_TRY_VOID(check_loops(hyper, layers));
  BRIMFUL_TRY_VOID(check_stacks(hyper, layers));
  BRIMFUL_TRY_VOID(check_epsilons(values, hyper));
  return check_rope_scaling(values, hyper);
}

}  // namespace brimful::model
