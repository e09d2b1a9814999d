#pragma once

#include <functional>
#include <optional>
#include <string>

#include "base/result.h"
#include "cli/line_reader.h"

namespace brimful::cli {

/// What a chat needs of the model.
struct ChatModel {
  std::string name;
  /// A line that was read from the input before, if any: it comes first.
  std::optional<LineReader::Line> first_line;
  /// Writes the answer to a message. Errors end the chat.
  std::function<Status(const std::string& message)> answer;
  /// Forgets the conversation, but for the system message.
  std::function<void()> clear;
  /// Sets the system message; an empty one is none.
  std::function<void(const std::string& text)> set_system;
  /// The system message; empty if there is none.
  std::function<std::string()> system;
  /// Speed and memory so far, for people.
  std::function<std::string()> statistics;
};

/// Talks with a person, or with the lines of a pipe, until the input ends or a command ends it. What it says
/// itself goes to stderr. Blocks. Errors: those of `lines` and of `model`.
[[nodiscard]] Status chat(LineReader& lines, const ChatModel& model);

}  // namespace brimful::cli
