#pragma once

#include <ggml.h>

#include <string>
#include <string_view>

#include "base/result.h"

namespace brimful::session {

/// Returns the type of a KV cache that has ggml's name `name`. `option` is what the face calls the option,
/// and `others` what else it accepts for it, for the message. Errors: kInvalidArgument for any other name.
[[nodiscard]] Result<ggml_type> cache_type(std::string_view option, const std::string& name,
                                           std::string_view others = "");

/// Checks that a V cache of this type can be used. `without_flash`: flash attention is switched off. Errors:
/// kInvalidArgument for a quantised type without flash attention; `option` begins the message, and
/// `flash_option` is what the message says to leave out.
[[nodiscard]] Status check_value_cache(std::string_view option, ggml_type type, bool without_flash,
                                       std::string_view flash_option);

}  // namespace brimful::session
