#pragma once

#include <optional>
#include <string>
#include <string_view>

namespace brimful::cli {

/// What a line that a person typed in a chat asks for.
struct ChatInput {
  enum class Kind { kMessage, kNothing, kHelp, kLeave, kClear, kSystem, kStatistics, kUnknown };
  Kind kind = Kind::kNothing;
  std::string text;  ///< of kMessage: the message; of kSystem: the system message; of kUnknown: what to say
};

/// Reads the lines of a chat: commands, which begin with a slash, and messages. A message of several lines
/// stands between two `"""`.
class ChatLines {
 public:
  /// Takes a line, or a pasted text of several lines. Empty while a message between `"""` is not complete.
  [[nodiscard]] std::optional<ChatInput> take(std::string_view line);
  /// Whether a message between `"""` goes on: the next line belongs to it.
  [[nodiscard]] bool goes_on() const { return begun_.has_value(); }
  /// Forgets what of such a message was taken. Returns it.
  std::string forget();

 private:
  std::optional<std::string> begun_;
};

/// The commands, one in a line, for people.
[[nodiscard]] std::string_view chat_help();

}  // namespace brimful::cli
