#pragma once

#include <cstddef>
#include <optional>

#include "base/result.h"

namespace brimful::schedule {

/// The numbers of a prompt that is longer than the context.
struct PromptLength {
  /// Length of the prompt, in tokens.
  std::size_t prompt = 0;
  /// The largest number of prompt tokens that the context holds.
  std::size_t context = 0;
};

/// Makes the error for a prompt that is too long. Its code is kInvalidArgument.
[[nodiscard]] Error prompt_too_long(PromptLength length);
/// Reads the numbers from an error that prompt_too_long() made; nothing for any other error.
[[nodiscard]] std::optional<PromptLength> too_long_prompt(const Error& error);

}  // namespace brimful::schedule
