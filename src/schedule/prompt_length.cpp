#include "schedule/prompt_length.h"

#include <fmt/format.h>

#include <cstdio>

namespace brimful::schedule {

Error prompt_too_long(PromptLength length) {
  return {ErrorCode::kInvalidArgument,
          fmt::format("the prompt has {} tokens and the context holds {}", length.prompt, length.context)};
}

std::optional<PromptLength> too_long_prompt(const Error& error) {
  PromptLength out;
  const int found = std::sscanf(error.message.c_str(), "the prompt has %zu tokens and the context holds %zu",
                                &out.prompt, &out.context);
  return error.code == ErrorCode::kInvalidArgument && found == 2 ? std::optional(out) : std::nullopt;
}

}  // namespace brimful::schedule
