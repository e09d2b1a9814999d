#pragma once

#include <functional>
#include <optional>
#include <string>

#include "base/result.h"
#include "cli/line_reader.h"

namespace brimful::cli {

/// The model behind a chat, as functions. All of them must be set.
struct ChatModel {
  std::string name;
  /// A line that was read from the input before the chat began. It is handled before all others. Unset:
  /// none.
  std::optional<LineReader::Line> first_line;
  /// Writes the answer to a message to standard output. An error ends the chat.
  std::function<Status(const std::string& message)> answer;
  /// Forgets the conversation, except for the system message.
  std::function<void()> clear;
  /// Sets the system message; an empty one is none.
  std::function<void(const std::string& text)> set_system;
  /// The system message; empty if there is none.
  std::function<std::string()> system;
  /// Returns a text for people about the speed and the memory so far.
  std::function<std::string()> statistics;
};

/// Runs a chat with a person, or with the lines of a pipe, until the input ends or a command ends it. Its
/// own messages go to stderr. Errors: those of `lines` and of `model`. Blocks: until the chat ends.
[[nodiscard]] Status chat(LineReader& lines, const ChatModel& model);

}  // namespace brimful::cli
