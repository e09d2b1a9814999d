#pragma once

#include <string_view>

#include "model/synth_design.h"

namespace strata::model {

/// Sharp attention: each position looks at a few others, and what it says next depends on all that came
/// before. With flat attention the model soon repeats a handful of tokens.
inline constexpr float kSharp = 1.5F;

constexpr TensorTemplate matrix(std::string_view name, Length row_length, Length rows, float gain = 1.0F) {
  return {.name = name, .shape = {row_length, rows, 1}, .gain = gain};
}

constexpr TensorTemplate norm(std::string_view name, Length length, float mean = 1.0F) {
  return {.name = name, .shape = {length, 1, 1}, .fill = SynthFill::kVector, .gain = 0.0F, .mean = mean};
}

constexpr TensorTemplate expert_matrices(std::string_view name, Length row_length, Length rows) {
  return {.name = name, .shape = {row_length, rows, Side::kExperts}};
}

constexpr TensorTemplate router() {
  return {.name = "ffn_gate_inp.weight",
          .shape = {Side::kEmbedding, Side::kExperts, 1},
          .fill = SynthFill::kRouter};
}

/// The designs of one family.
[[nodiscard]] std::span<const SynthDesign> llama_designs();

}  // namespace strata::model
