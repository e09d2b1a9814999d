#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "engine/options.h"
#include "plan/forecast.h"

namespace brimful::session {

/// The requests that a plan is made for.
struct PlannedRequests {
  /// Number of requests that are answered together, at least 1.
  std::uint32_t at_once = 1;
  /// Tokens of each prompt. Unset: a usual prompt of 512 tokens, or half of a shorter context.
  std::optional<std::uint32_t> prompt_tokens;
};

/// The length of each prompt for a plan, and why it is not the one that was asked for.
struct PlannedPrompt {
  std::uint32_t tokens = 0;
  /// A note for people. Empty: the prompt is as long as asked for.
  std::string note;
};

/// Returns the length of a prompt in a context that has `context` tokens for each request (0: not known).
/// A prompt whose length was left open leaves half of the context to the answer. `name` is what the face
/// calls the option, for the note. Pure.
[[nodiscard]] PlannedPrompt planned_prompt(std::optional<std::uint32_t> prompt_tokens, std::uint32_t context,
                                           const std::string& name);

/// Shapes the context of a plan whose requests share nothing. `context.context` is the size that each request
/// has; it becomes that of all together. Where it is unset, each has at most the `trained` tokens that the
/// model was trained on (0: not known). Returns the prompt that the context is made for. Pure.
[[nodiscard]] PlannedPrompt shape_for_plan(engine::ContextOptions& context, const PlannedRequests& requests,
                                           std::uint32_t trained, const std::string& name);

/// What the forecast of a plan is made for.
[[nodiscard]] plan::Workload workload_of(std::uint32_t at_once, std::uint32_t prompt_tokens);

}  // namespace brimful::session
