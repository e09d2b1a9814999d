#pragma once

#include <fmt/format.h>

#include <string_view>
#include <utility>

namespace strata {

/// Writes to standard error, for people. That nobody can read it (a closed pipe, a full disk) stops nothing:
/// then it is left out.
void tell_text(std::string_view text) noexcept;

template <typename... Arguments>
void tell(fmt::format_string<Arguments...> format, Arguments&&... arguments) {
  tell_text(fmt::format(format, std::forward<Arguments>(arguments)...));
}

}  // namespace strata
