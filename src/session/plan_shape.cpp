#include "session/plan_shape.h"

#include <fmt/format.h>

#include <algorithm>

namespace brimful::session {
namespace {

constexpr std::uint32_t kUsualPrompt = 512;  // tokens

}  // namespace

PlannedPrompt planned_prompt(std::optional<std::uint32_t> prompt_tokens, std::uint32_t context,
                             const std::string& name) {
  if (context == 0) return {prompt_tokens.value_or(kUsualPrompt), {}};
  if (!prompt_tokens) return {std::min(kUsualPrompt, std::max(context / 2, 1U)), {}};
  if (*prompt_tokens <= context) return {*prompt_tokens, {}};
  return {context, fmt::format("{} {}: the context holds only {} tokens, so the plan is for a prompt of {}",
                               name, *prompt_tokens, context, context)};
}

PlannedPrompt shape_for_plan(engine::ContextOptions& context, const PlannedRequests& requests,
                             std::uint32_t trained, const std::string& name) {
  context.sequences = requests.at_once;
  const std::uint32_t of_each = context.context.value_or(0) > 0 ? *context.context : trained;
  if (context.context) context.context = *context.context * context.sequences;
  PlannedPrompt prompt = planned_prompt(requests.prompt_tokens, of_each, name);
  context.prompt_tokens = prompt.tokens;
  context.least_context = prompt.tokens * context.sequences;
  // The sequences share the context, and each may be as long as the model was trained on.
  if (!context.context && context.sequences > 1 && trained > 0 && context.least_context > trained)
    context.context = context.least_context;
  return prompt;
}

plan::Workload workload_of(std::uint32_t at_once, std::uint32_t prompt_tokens) {
  return {.sequences = at_once, .prompt_tokens = prompt_tokens, .cells = prompt_tokens};
}

}  // namespace brimful::session
