#pragma once

#include <span>
#include <string_view>

/// Rules about the hyper-parameters of each architecture that libllama's model code assumes. libllama aborts
/// or divides by zero when a file breaks one of them. The rules come from its sources, version 0.5.0
/// (load_arch_hparams, load_arch_tensors and the graph builders in src/models). `architecture` is the value
/// of general.architecture everywhere. All functions are pure.
namespace brimful::model {

/// A key that must be at least 1 when the file has it, because the architecture's code divides by it or
/// asserts on it. The rule is only for files of that architecture: others never read the key, and
/// llama.cpp's own model saver writes the keys of all architectures, most of them as 0.
struct PositiveKey {
  std::string_view architecture;
  /// The key without its prefix `<arch>.`.
  std::string_view key;
};

[[nodiscard]] std::span<const PositiveKey> positive_keys();

/// Whether the heads of keys and of values must have the same length.
[[nodiscard]] bool needs_equal_head_lengths(std::string_view architecture);

/// Whether RoPE must turn all elements of a head.
[[nodiscard]] bool needs_full_rope(std::string_view architecture);

/// Whether every model of the architecture has experts: expert_count and the first layer's expert_used_count
/// must be at least 1.
[[nodiscard]] bool needs_experts(std::string_view architecture);

/// Whether some layers, perhaps the first one, may have no attention heads. This holds for recurrent and
/// hybrid models.
[[nodiscard]] bool may_lack_heads(std::string_view architecture);

/// Whether all attention heads together must be as wide as the embedding.
[[nodiscard]] bool needs_heads_to_fill_embedding(std::string_view architecture);

/// Whether layers with a sliding window must have attention heads of the same lengths as the other layers.
[[nodiscard]] bool needs_same_heads_in_windows(std::string_view architecture);

/// Whether a model with experts must say how the router's numbers become weights (expert_gating_func).
/// libllama aborts when the key is missing or 0.
[[nodiscard]] bool needs_gating(std::string_view architecture);

/// Whether the architecture reads expert_gating_func, and uses a default when the key is missing or 0.
[[nodiscard]] bool has_default_gating(std::string_view architecture);

/// Whether RoPE turns sections of a head by several positions (of text, rows, columns) in every model.
[[nodiscard]] bool needs_rope_sections(std::string_view architecture);

/// Whether RoPE turns sections of a head by several positions in those models that have sections. When all
/// sections are 0, RoPE has one position.
[[nodiscard]] bool may_have_rope_sections(std::string_view architecture);

/// Whether the architecture reads from attention.sliding_window_pattern which layers have a sliding window.
[[nodiscard]] bool reads_window_pattern(std::string_view architecture);

/// Whether the width of the recurrent state (ssm.inner_size) must be the number of its heads
/// (ssm.time_step_rank) times ssm.state_size elements.
[[nodiscard]] bool needs_inner_size_of_heads(std::string_view architecture);

/// Whether the recurrent state (ssm.inner_size) must be twice as wide as the embedding.
[[nodiscard]] bool needs_double_inner_size(std::string_view architecture);

}  // namespace brimful::model
