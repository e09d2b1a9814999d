#include <algorithm>

#include "model/architecture_rules.h"
#include "model/hyper_parameters.h"

namespace brimful::model {
namespace {

Status check_head_counts(const Hyper& hyper, const std::vector<std::uint32_t>& heads,
                         const std::vector<std::uint32_t>& kv_heads) {
  constexpr std::uint32_t kMaxHeads = 65536;
  if ((heads.empty() || heads.front() == 0) && !may_lack_heads(hyper.name())) {
    return implausible(fmt::format("{} is missing or 0", in_quotes(hyper.full("attention.head_count"))));
  }
  for (std::size_t i = 0; i < heads.size(); ++i) {
    const std::uint32_t kv = kv_heads.empty() ? heads[i] : kv_heads[i];
    if (heads[i] > kMaxHeads || kv > kMaxHeads || (heads[i] != 0 && kv != 0 && heads[i] % kv != 0)) {
      return implausible(
          fmt::format("layer {} has {} attention heads over {} key-value heads", i, heads[i], kv));
    }
  }
  return {};
}

/// The lengths of one attention head, in elements: of its keys, of its values, and of the part that RoPE
/// turns.
struct HeadLengths {
  std::uint32_t key = 0;
  std::uint32_t value = 0;
  std::uint32_t rope = 0;

  bool operator==(const HeadLengths&) const = default;
};

/// Reads the lengths, and derives missing ones as libllama does.
Result<HeadLengths> head_lengths(const Hyper& hyper, std::uint32_t heads) {
  BRIMFUL_TRY(const std::uint32_t embedding, hyper.u32_or("embedding_length", 0));
  HeadLengths out;
  BRIMFUL_TRY(out.key, hyper.u32_or("attention.key_length", embedding / heads));
  BRIMFUL_TRY(out.value, hyper.u32_or("attention.value_length", embedding / heads));
  BRIMFUL_TRY(out.rope, hyper.u32_or("rope.dimension_count", out.key));
  return out;
}

/// ggml turns elements in pairs, and loops without end when there are 0 elements to turn.
Status check_rope(const HeadLengths& lengths) {
  if (lengths.rope > 0 && lengths.rope % 2 == 0 && lengths.rope <= lengths.key) return {};
  return implausible(
      fmt::format("RoPE turns {} of {} elements of an attention head", lengths.rope, lengths.key));
}

Status check_head_lengths(const Hyper& hyper, const HeadLengths& lengths, std::uint32_t heads) {
  const auto [key, value, rope] = lengths;
  if (key == 0 || value == 0) {
    return implausible(fmt::format("attention heads have keys of {} and values of {} elements", key, value));
  }
  if (needs_equal_head_lengths(hyper.name()) && key != value) {
    return implausible(
        fmt::format("attention keys have {} elements and values {}, which {} models do not allow", key, value,
                    hyper.name()));
  }
  const bool other_rope = hyper.has("rope.dimension_count_swa") || hyper.has("attention.key_length_swa");
  if (needs_full_rope(hyper.name()) && !other_rope && rope != key) {
    return implausible(
        fmt::format("RoPE turns {} of {} elements of an attention head, which {} models do not allow", rope,
                    key, hyper.name()));
  }
  BRIMFUL_TRY(const std::uint64_t embedding, hyper.u32_or("embedding_length", 0));
  if (needs_heads_to_fill_embedding(hyper.name()) && std::uint64_t{key} * heads != embedding) {
    return implausible(fmt::format("{} attention heads of {} elements are not the {} of the embedding", heads,
                                   key, embedding));
  }
  return check_rope(lengths);
}

/// Checks the heads of layers with a sliding window, which may have other lengths.
Status check_window_heads(const Hyper& hyper, const HeadLengths& others) {
  HeadLengths lengths;
  BRIMFUL_TRY(lengths.key, hyper.u32_or("attention.key_length_swa", others.key));
  BRIMFUL_TRY(lengths.value, hyper.u32_or("attention.value_length_swa", others.value));
  BRIMFUL_TRY(lengths.rope, hyper.u32_or("rope.dimension_count_swa", others.rope));
  if (needs_same_heads_in_windows(hyper.name()) && lengths != others) {
    return implausible(fmt::format(
        "layers with a window have other attention heads, which {} models do not allow", hyper.name()));
  }
  return check_rope(lengths);
}

/// Checks how many pairs of elements RoPE turns by each of several positions (of text, rows, columns). An
/// architecture whose RoPE has one position never reads the sections.
Status check_rope_sections(const Hyper& hyper, std::uint32_t key) {
  const bool needed = needs_rope_sections(hyper.name());
  if (!needed && !may_have_rope_sections(hyper.name())) return {};
  const GgufKeyValue* const kv = hyper.find("rope.dimension_sections");
  if (kv == nullptr || kv->count > 4) return {};  // libllama refuses a longer array.
  BRIMFUL_TRY(const auto sections, hyper.per_layer("rope.dimension_sections", kv->count));
  std::uint64_t sum = 0;
  for (const std::uint32_t section : sections) sum += section;
  if ((sum > 0 || !needed) && sum <= key) return {};
  return implausible(
      fmt::format("{} are {} of {} elements", in_quotes(hyper.full("rope.dimension_sections")), sum, key));
}

/// Checks that some layers have a sliding window: libllama asserts that for architectures with such layers.
/// The file says 'all but each Nth layer', or lists the layers.
Status check_window_pattern(const Hyper& hyper) {
  if (!reads_window_pattern(hyper.name())) return {};
  const std::string key = hyper.full("attention.sliding_window_pattern");
  const GgufKeyValue* const kv = hyper.find("attention.sliding_window_pattern");
  if (kv == nullptr || kv->count > kMaxLayers) return {};  // libllama refuses a longer array.
  if (!kv->is_array) {
    // When the key has another type, libllama refuses it or does not read it.
    const auto each = hyper.values().u32(key);
    if (!each || *each != 1U) return {};
  } else {
    const auto with_window = hyper.values().per_layer(key, kv->count);
    if (!with_window || std::ranges::any_of(*with_window, [](std::uint32_t yes) { return yes != 0; }))
      return {};
  }
  return implausible(fmt::format("{} leaves no layer with a window", in_quotes(key)));
}

/// Checks latent attention, which keeps one compressed key and value for all heads.
Status check_latent_attention(const Hyper& hyper, const HeadLengths& lengths, std::uint32_t heads,
                              std::uint32_t kv_heads) {
  if (hyper.name() != "deepseek2") return {};
  BRIMFUL_TRY(const std::uint64_t rank, hyper.u32_or("attention.kv_lora_rank", 0));
  BRIMFUL_TRY(const std::uint32_t key, hyper.u32_or("attention.key_length_mla", 0));
  BRIMFUL_TRY(const std::uint32_t value, hyper.u32_or("attention.value_length_mla", 0));
  const bool latent = key != 0 && value != 0;
  const bool good = latent ? kv_heads == 1 && lengths.key == rank + lengths.rope && lengths.value == rank
                           : kv_heads == heads;
  if (good && (latent ? key : lengths.key) > lengths.rope) return {};
  return implausible(
      fmt::format("{} key-value heads of {} and {} elements do not fit to RoPE over {} and a rank of {}",
                  kv_heads, lengths.key, lengths.value, lengths.rope, rank));
}

/// Checks the temperature of attention that becomes flatter with each further stretch of the context.
Status check_temperature(const Hyper& hyper) {
  if (hyper.name() != "deepseek2") return {};
  BRIMFUL_TRY(const auto scale, hyper.values().f32(hyper.full("attention.temperature_scale")));
  BRIMFUL_TRY(const std::uint32_t stretch, hyper.u32_or("attention.temperature_length", 0));
  if (scale.value_or(0) == 0 || stretch != 0) return {};
  return implausible(
      fmt::format("{} is missing or 0", in_quotes(hyper.full("attention.temperature_length"))));
}

}  // namespace

Status check_attention(const Hyper& hyper, std::uint32_t layers) {
  BRIMFUL_TRY(const auto all_heads, hyper.per_layer("attention.head_count", layers));
  BRIMFUL_TRY(const auto kv_heads, hyper.per_layer("attention.head_count_kv", layers));
  BRIMFUL_TRY_VOID(check_head_counts(hyper, all_heads, kv_heads));
  BRIMFUL_TRY_VOID(check_window_pattern(hyper));
  BRIMFUL_TRY_VOID(check_temperature(hyper));
  if (all_heads.empty() || all_heads.front() == 0) return {};
  const std::uint32_t heads = all_heads.front();
  BRIMFUL_TRY(const HeadLengths lengths, head_lengths(hyper, heads));
  BRIMFUL_TRY_VOID(check_head_lengths(hyper, lengths, heads));
  BRIMFUL_TRY_VOID(check_rope_sections(hyper, lengths.key));
  BRIMFUL_TRY_VOID(
      check_latent_attention(hyper, lengths, heads, kv_heads.empty() ? heads : kv_heads.front()));
  return check_window_heads(hyper, lengths);
}

}  // namespace brimful::model
