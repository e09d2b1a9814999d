#pragma once

#include <cstdint>
#include <span>
#include <string_view>

#include "base/result.h"

namespace brimful::synth {

/// The sizes of a named model, in elements, tokens and counts.
struct SynthShape {
  std::string_view name;
  std::string_view design;  ///< a name that find_synth_design knows
  std::uint32_t layers = 0;
  std::uint32_t embedding = 0;
  std::uint32_t feed_forward = 0;  ///< of a dense layer
  std::uint32_t heads = 0;
  std::uint32_t kv_heads = 0;
  std::uint32_t head_size = 0;
  std::uint32_t experts = 0;
  std::uint32_t experts_used = 0;         ///< for each token
  std::uint32_t expert_feed_forward = 0;  ///< of one expert
  std::uint32_t vocabulary = 0;
  std::uint32_t context = 0;
  float rope_base = 10000.0F;
  float rms_epsilon = 1e-5F;
  bool tied = false;  ///< the token embedding is the output matrix too
};

[[nodiscard]] std::span<const SynthShape> synth_shapes();

/// Errors: kInvalidArgument: the message lists the names that are known.
[[nodiscard]] Result<SynthShape> find_synth_shape(std::string_view name);

}  // namespace brimful::synth
