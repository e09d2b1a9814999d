#pragma once

#include <functional>
#include <string>
#include <vector>

#include "plan/plan.h"

namespace brimful::plan {

/// A change that a person could make, and what it would do.
struct Change {
  /// What to change, as a person would put it: `quantisation Q3_K_M`.
  std::string what;
  /// The price of the change: `perplexity +0.66 (of Llama-3-8B)`. May be empty.
  std::string note;
  /// The rate after the change, of all sequences together.
  double decode_tokens_per_second = 0;
  /// The rate after the change, divided by the rate of the plan.
  double factor = 0;
  /// The size of the weights in another quantisation; 0 for any other change.
  Bytes weights;
};

/// Changed inputs of a plan. `what` and `note` are those of the Change.
struct Variant {
  std::string what;
  std::string note;
  Inputs inputs;
  /// Whether the inputs are the same model from another file.
  bool other_weights = false;
};

/// Inputs with more memory, a faster disk, another GPU, or a batch of requests. Never with another model:
/// nobody knows what that would write. Pure.
[[nodiscard]] std::vector<Variant> standard_variants(const Inputs& inputs);

/// Makes a plan for each variant and returns what it would give, the largest gain first. It leaves out
/// variants that do not fit, that gain less than 3% in decode, or that read prompts at less than 90% of the
/// rate of `plan` while decode gains less than twice what prompts lose. Pure.
[[nodiscard]] std::vector<Change> rank(const Plan& plan, const std::vector<Variant>& variants);

}  // namespace brimful::plan
