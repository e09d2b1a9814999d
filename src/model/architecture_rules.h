#pragma once

#include <span>
#include <string_view>

/// What libllama's model code takes for granted about the hyper-parameters of each architecture, and answers
/// with an abort or a division by zero where it is not so. Read from its sources, version 0.5.0
/// (load_arch_hparams, load_arch_tensors and the graph builders in src/models).
namespace brimful::model {

/// A key that the architecture reads, and divides by or asserts on: where it is present, it is at least 1.
/// The same key in a file of another architecture is never read, so it is not judged: llama.cpp's own model
/// saver writes the keys of all architectures, most of them as 0.
struct PositiveKey {
  std::string_view architecture;
  std::string_view key;  ///< without the `<arch>.` before it
};

[[nodiscard]] std::span<const PositiveKey> positive_keys();

/// The key and value heads have the same length.
[[nodiscard]] bool needs_equal_head_lengths(std::string_view architecture);

/// RoPE turns the whole head.
[[nodiscard]] bool needs_full_rope(std::string_view architecture);

/// Has experts in every model: expert_count and the first layer's expert_used_count are at least 1.
[[nodiscard]] bool needs_experts(std::string_view architecture);

/// Some layers have no attention heads (recurrent and hybrid models), perhaps the first.
[[nodiscard]] bool may_lack_heads(std::string_view architecture);

/// All attention heads together are as wide as the embedding.
[[nodiscard]] bool needs_heads_to_fill_embedding(std::string_view architecture);

/// Layers with a sliding window have the attention heads of the others.
[[nodiscard]] bool needs_same_heads_in_windows(std::string_view architecture);

/// A model with experts must say how the router's numbers become weights (expert_gating_func); libllama
/// aborts where the key is missing or 0.
[[nodiscard]] bool needs_gating(std::string_view architecture);

/// The architecture reads expert_gating_func, and replaces a missing key or 0 by a default.
[[nodiscard]] bool has_default_gating(std::string_view architecture);

/// RoPE turns sections of a head by several positions (of text, rows, columns), in every model.
[[nodiscard]] bool needs_rope_sections(std::string_view architecture);

/// RoPE turns sections by several positions in models that have sections; where all are 0, RoPE turns by one.
[[nodiscard]] bool may_have_rope_sections(std::string_view architecture);

/// The architecture reads which layers have a sliding window (attention.sliding_window_pattern).
[[nodiscard]] bool reads_window_pattern(std::string_view architecture);

/// The recurrent state is as wide as its heads (time_step_rank) of state_size elements.
[[nodiscard]] bool needs_inner_size_of_heads(std::string_view architecture);

/// The recurrent state is twice as wide as the embedding.
[[nodiscard]] bool needs_double_inner_size(std::string_view architecture);

}  // namespace brimful::model
