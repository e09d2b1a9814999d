#pragma once

#include <fmt/format.h>

#include <string_view>
#include <utility>

namespace brimful {

/// Writes `text` to standard error, for people to read. When it cannot be written (a closed pipe, a full
/// disk), the text is lost and the program goes on.
void tell_text(std::string_view text) noexcept;

/// Opens a descriptor on which every read or write fails in the place of each standard stream that was closed
/// when the program started. Without it the next file that is opened would get the number of that stream, and
/// notes or answers would be written into the file. main() calls this before anything else is opened.
void hold_standard_streams() noexcept;

/// Formats a message as fmt does, and writes it with tell_text().
template <typename... Arguments>
void tell(fmt::format_string<Arguments...> format, Arguments&&... arguments) {
  tell_text(fmt::format(format, std::forward<Arguments>(arguments)...));
}

}  // namespace brimful
