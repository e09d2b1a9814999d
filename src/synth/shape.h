#pragma once

#include <cstdint>
#include <span>
#include <string_view>

#include "base/result.h"

namespace brimful::synth {

/// The sizes of a named model: widths in elements, `vocabulary` and `context` in tokens, the others as
/// counts.
struct SynthShape {
  std::string_view name;
  /// The name of the design, which find_synth_design() knows.
  std::string_view design;
  std::uint32_t layers = 0;
  std::uint32_t embedding = 0;
  /// The width of the feed-forward part of a dense layer.
  std::uint32_t feed_forward = 0;
  std::uint32_t heads = 0;
  std::uint32_t kv_heads = 0;
  std::uint32_t head_size = 0;
  /// The number of experts in a layer; 0 for a model without experts.
  std::uint32_t experts = 0;
  /// The number of experts that each token uses.
  std::uint32_t experts_used = 0;
  /// The width of one expert.
  std::uint32_t expert_feed_forward = 0;
  std::uint32_t vocabulary = 0;
  std::uint32_t context = 0;
  float rope_base = 10000.0F;
  float rms_epsilon = 1e-5F;
  /// Whether the token embedding serves as the output matrix, too.
  bool tied = false;
};

/// All shapes that can be made.
[[nodiscard]] std::span<const SynthShape> synth_shapes();

/// Returns the shape with that name. Errors: kInvalidArgument; the message lists the known names.
[[nodiscard]] Result<SynthShape> find_synth_shape(std::string_view name);

}  // namespace brimful::synth
