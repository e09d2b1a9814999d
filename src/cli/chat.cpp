#include "cli/chat.h"

#include <fmt/format.h>

#include "base/standard_error.h"
#include "cli/chat_input.h"

namespace brimful::cli {
namespace {

constexpr std::string_view kPrompt = "> ";
constexpr std::string_view kPromptInside = ". ";  // The prompt inside a message between """.

class Chat {
 public:
  Chat(LineReader& reader, const ChatModel& model) : reader_(reader), model_(model) {}

  Status run() {
    if (reader_.is_terminal()) {
      tell("Chat with {}. /help lists commands, Ctrl-C stops an answer, Ctrl-D ends.\n", model_.name);
    }
    if (model_.first_line) BRIMFUL_TRY_VOID(take(*model_.first_line));
    while (!left_) {
      if (reader_.is_terminal() && !input_.goes_on()) tell("\n");
      BRIMFUL_TRY(const LineReader::Line line, reader_.read(input_.goes_on() ? kPromptInside : kPrompt));
      BRIMFUL_TRY_VOID(take(line));
    }
    return {};
  }

 private:
  using Kind = LineReader::Line::Kind;

  Status take(const LineReader::Line& line) {
    switch (line.kind) {
      case Kind::kText: return take_text(line.text);
      case Kind::kEnd: return end();
      case Kind::kTooLong:
        tell("note: the message is longer than the context can be, and was not sent\n");
        return {};
      case Kind::kGivenUp: break;
    }
    tell("\n");
    const bool nothing_typed = input_.forget().empty() && line.text.empty();
    if (!reader_.is_terminal()) {
      left_ = true;
    } else if (nothing_typed) {
      tell("Ctrl-D or /bye ends the chat.\n");
    }
    return {};
  }

  Status take_text(const std::string& text) {
    reader_.remember(text);
    // The lines of a pipe are all messages, because a program that writes them means no commands.
    const std::optional<ChatInput> input =
        reader_.is_terminal() ? input_.take(text) : ChatInput{ChatInput::Kind::kMessage, text};
    if (!input) return {};
    return carry_out(*input);
  }

  /// Handles the end of the input. An incomplete message that began with """ is answered, too.
  Status end() {
    left_ = true;
    const std::string begun = input_.forget();
    return begun.empty() ? Status{} : model_.answer(begun);
  }

  Status carry_out(const ChatInput& input) {
    switch (input.kind) {
      case ChatInput::Kind::kMessage: return input.text.empty() ? Status{} : model_.answer(input.text);
      case ChatInput::Kind::kNothing: break;
      case ChatInput::Kind::kHelp: tell("{}", chat_help()); break;
      case ChatInput::Kind::kLeave: left_ = true; break;
      case ChatInput::Kind::kClear:
        model_.clear();
        tell("The conversation is forgotten.\n");
        break;
      case ChatInput::Kind::kSystem: set_system(input.text); break;
      case ChatInput::Kind::kStatistics: tell("{}", model_.statistics()); break;
      case ChatInput::Kind::kUnknown: tell("{}\n", input.text); break;
    }
    return {};
  }

  void set_system(const std::string& text) {
    if (!text.empty()) {
      model_.set_system(text);
      tell("The system message is set.\n");
      return;
    }
    const std::string now = model_.system();
    tell("{}\n", now.empty() ? "There is no system message." : now);
  }

  LineReader& reader_;
  const ChatModel& model_;
  ChatLines input_;
  bool left_ = false;
};

}  // namespace

Status chat(LineReader& lines, const ChatModel& model) { return Chat(lines, model).run(); }

}  // namespace brimful::cli
