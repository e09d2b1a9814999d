#pragma once

#include <string>
#include <string_view>

namespace brimful {

/// A text of unknown origin, such as a model's name or a library's error, in a form that steers no terminal:
/// control characters (C0, DEL, C1), marks that change the direction of text, and bytes that are no UTF-8
/// become symbols. Newlines become symbols, too: the result is one line. All other characters stay as they
/// are.
[[nodiscard]] std::string visible_text(std::string_view text);

/// The same for text that people read line by line: newlines and tabs stay.
[[nodiscard]] std::string visible_lines(std::string_view text);

/// Makes the pieces of a text visible one after the other: a character may be cut between two pieces.
class VisibleStream {
 public:
  /// What can be shown of all that came until now, and was not shown before.
  [[nodiscard]] std::string add(std::string_view piece);
  /// What is left at the end: a symbol where a character was cut off.
  [[nodiscard]] std::string rest();

 private:
  std::string cut_;  // the first bytes of a character, at most 3
};

}  // namespace brimful
