#pragma once

#include <cstddef>
#include <optional>

#include "base/result.h"

namespace brimful::schedule {

/// A prompt that no context here holds.
struct PromptLength {
  std::size_t prompt = 0;   ///< Tokens.
  std::size_t context = 0;  ///< Tokens that fit.
};

/// The error that says so. Its code is kInvalidArgument.
[[nodiscard]] Error prompt_too_long(PromptLength length);
/// The numbers of such an error; nothing for any other error.
[[nodiscard]] std::optional<PromptLength> too_long_prompt(const Error& error);

}  // namespace brimful::schedule
