#pragma once

#include <optional>
#include <string>
#include <string_view>

namespace brimful::cli {

/// The meaning of a line that a person typed in a chat: a message, an empty line, or a command.
struct ChatInput {
  enum class Kind { kMessage, kNothing, kHelp, kLeave, kClear, kSystem, kStatistics, kUnknown };
  Kind kind = Kind::kNothing;
  /// The message with kMessage, the system message with kSystem, the answer to the person with kUnknown;
  /// else empty.
  std::string text;
};

/// Parses the lines of a chat. Commands begin with a slash; everything else is a message. A message of
/// several lines stands between two `"""`.
class ChatLines {
 public:
  /// Takes a line, or a pasted text of several lines. Returns nullopt while a message between `"""` is not
  /// complete.
  [[nodiscard]] std::optional<ChatInput> take(std::string_view line);
  /// Whether a message between `"""` has begun and not ended: the next line belongs to it.
  [[nodiscard]] bool goes_on() const { return begun_.has_value(); }
  /// Drops the incomplete message between `"""`, and returns its lines so far.
  std::string forget();

 private:
  std::optional<std::string> begun_;
};

/// A text for people with one line for each command.
[[nodiscard]] std::string_view chat_help();

}  // namespace brimful::cli
