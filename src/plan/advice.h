#pragma once

#include <functional>
#include <string>
#include <vector>

#include "plan/plan.h"

namespace brimful::plan {

/// A change that a person could make, and what it would do.
struct Change {
  std::string what;  ///< `quantisation Q3_K_M`
  std::string note;  ///< its price: `perplexity +0.66 (of Llama-3-8B)`
  double decode_tokens_per_second = 0;
  double factor = 0;  ///< of the plan's own
  Bytes weights;      ///< of another quantisation; else 0
};

/// The same inputs, changed, and how a person would put it.
struct Variant {
  std::string what;
  std::string note;
  Inputs inputs;
  bool other_weights = false;  ///< the same model from another file
};

/// More memory, a faster disk, another GPU, a batch. Never another model: what it would write is not known.
/// Pure.
[[nodiscard]] std::vector<Variant> standard_variants(const Inputs& inputs);

/// What each variant would give, the largest gain first. Those that do not fit, that gain less than 3% while
/// text is written, or that read prompts at less than 90% of the rate, are left out. Pure.
[[nodiscard]] std::vector<Change> rank(const Plan& plan, const std::vector<Variant>& variants);

}  // namespace brimful::plan
