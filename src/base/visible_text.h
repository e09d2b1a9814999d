#pragma once

#include <string>
#include <string_view>

namespace brimful {

/// Returns a text of unknown origin, such as a model's name or a library's error, in a form that cannot
/// control the terminal. Control characters (C0, DEL, C1), marks that change the direction of text, and bytes
/// that are not UTF-8 become symbols. Newlines become symbols, too, so the result is one line. All other
/// characters stay as they are. The result is valid UTF-8.
[[nodiscard]] std::string visible_text(std::string_view text);

/// Does the same for a text of several lines: newlines and tabs stay.
[[nodiscard]] std::string visible_lines(std::string_view text);

/// Does the same as visible_lines() for a text that arrives in pieces, such as a model's answer. A character
/// may be divided between two pieces. Not thread-safe.
class VisibleStream {
 public:
  /// Adds a piece of the text. Returns the visible form of all complete characters that were not returned
  /// before.
  [[nodiscard]] std::string add(std::string_view piece);
  /// Ends the text. Returns a symbol when the text ended inside a character, else an empty string.
  [[nodiscard]] std::string rest();

 private:
  /// The first bytes of a character whose other bytes did not arrive yet; at most 3.
  std::string cut_;
};

}  // namespace brimful
