#include "cli/chat_input.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <utility>
#include <vector>

#include "base/suggest.h"

namespace brimful::cli {
namespace {

using Kind = ChatInput::Kind;

constexpr std::string_view kQuotes = "\"\"\"";
constexpr std::string_view kSpace = " \t\r\n";

struct Command {
  std::string_view name;
  Kind kind;
};
constexpr std::array kCommands{
    Command{"/help", Kind::kHelp},     Command{"/?", Kind::kHelp},           Command{"/bye", Kind::kLeave},
    Command{"/exit", Kind::kLeave},    Command{"/quit", Kind::kLeave},       Command{"/clear", Kind::kClear},
    Command{"/system", Kind::kSystem}, Command{"/stats", Kind::kStatistics},
};

std::string_view trimmed(std::string_view text) {
  const std::size_t begin = text.find_first_not_of(kSpace);
  if (begin == std::string_view::npos) return {};
  return text.substr(begin, text.find_last_not_of(kSpace) - begin + 1);
}

/// Returns whether a line is a command. A path such as /etc/fstab is none, and neither is a text of several
/// lines.
bool is_command(std::string_view line) {
  const std::string_view name = line.substr(0, line.find_first_of(kSpace));
  if (name.size() < 2 || name[0] != '/' || line.find('\n') != std::string_view::npos) return false;
  return name == "/?" || std::ranges::all_of(name.substr(1), [](char c) {
           return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
         });
}

ChatInput command_of(std::string_view line) {
  const std::string_view name = line.substr(0, line.find_first_of(kSpace));
  const std::string_view rest = trimmed(line.substr(name.size()));
  const auto* const found = std::ranges::find(kCommands, name, &Command::name);
  if (found == kCommands.end()) {
    std::vector<std::string> names;
    names.reserve(kCommands.size());
    for (const Command& command : kCommands) names.emplace_back(command.name);
    return {
        Kind::kUnknown,
        fmt::format("there is no command {}{} /help lists the commands; a message that begins with a slash "
                    "needs a space before it",
                    name, suggestion(name, names).empty() ? ";" : suggestion(name, names))};
  }
  if (!rest.empty() && found->kind != Kind::kSystem)
    return {Kind::kUnknown, fmt::format("{} takes no text after it; /help lists the commands", name)};
  return {found->kind, std::string(rest)};
}

ChatInput message_of(std::string_view text) {
  return trimmed(text).empty() ? ChatInput{} : ChatInput{Kind::kMessage, std::string(text)};
}

}  // namespace

std::optional<ChatInput> ChatLines::take(std::string_view line) {
  if (!begun_) {
    if (is_command(line)) return command_of(trimmed(line));
    if (!trimmed(line).starts_with(kQuotes)) return message_of(line);
    line.remove_prefix(line.find(kQuotes) + kQuotes.size());
    begun_.emplace();
  } else {
    *begun_ += '\n';
  }
  const std::size_t end = line.find(kQuotes);
  *begun_ += line.substr(0, end);
  if (end == std::string_view::npos) return std::nullopt;
  // Text after the quotes on the same line belongs to the message, so that nothing that was typed is lost.
  const std::string_view after = trimmed(line.substr(end + kQuotes.size()));
  if (!after.empty()) *begun_ += fmt::format(" {}", after);
  const std::string text = forget();
  return message_of(text.starts_with('\n') ? text.substr(1) : text);
}

std::string ChatLines::forget() {
  std::string out = std::move(begun_).value_or(std::string());
  begun_.reset();
  return out;
}

std::string_view chat_help() {
  return "  /help          this text\n"
         "  /bye           ends the chat, as do /exit, /quit and Ctrl-D\n"
         "  /clear         forgets the conversation\n"
         "  /system TEXT   sets the system message; without TEXT: shows it\n"
         "  /stats         speed and memory so far\n"
         "  \"\"\"            begins a message of several lines, and ends it\n"
         "Alt-Enter begins another line, and a pasted text is one message. The arrow keys edit and\n"
         "bring back earlier messages, Ctrl-R searches them. Ctrl-C stops an answer or clears the\n"
         "line. A message that begins with a slash needs a space before it.\n";
}

}  // namespace brimful::cli
