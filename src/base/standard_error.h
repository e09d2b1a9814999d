#pragma once

#include <fmt/format.h>

#include <string_view>
#include <utility>

namespace brimful {

/// Writes to standard error, for people. That nobody can read it (a closed pipe, a full disk) stops nothing:
/// then it is left out.
void tell_text(std::string_view text) noexcept;

/// A standard stream that the program was started without is held by one that fails: else the next file that
/// is opened would take its number, and notes or answers would be written into it.
/// To be called before anything is opened.
void hold_standard_streams() noexcept;

template <typename... Arguments>
void tell(fmt::format_string<Arguments...> format, Arguments&&... arguments) {
  tell_text(fmt::format(format, std::forward<Arguments>(arguments)...));
}

}  // namespace brimful
