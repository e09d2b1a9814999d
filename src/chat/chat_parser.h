#pragma once

#include <cstddef>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

struct common_chat_parser_params;
struct common_chat_msg;

namespace brimful::chat {

/// A call of a tool that a model asks for.
struct ToolCall {
  std::string id;  ///< The model's own, or one of nine letters and digits that the parser makes.
  std::string name;
  std::string arguments;  ///< JSON, as the model wrote it; not checked.
};

/// An answer of a chat, without the marks that the chat template separates its parts with. UTF-8: other bytes
/// become U+FFFD, except in a text that is all content.
struct ChatMessage {
  std::string content;
  std::string reasoning;  ///< What the model thought before it answered.
  std::vector<ToolCall> tool_calls;
};

/// What more text adds to a ChatMessage. One of the three has a value.
struct ChatDelta {
  std::string content;
  std::string reasoning;
  struct Call {
    std::size_t index = 0;  ///< Of the call, from 0.
    ToolCall added;         ///< `id` and `name` are set in the first delta of a call only.
  };
  std::optional<Call> call;
};

/// Understands the text that a model writes after one prompt of ChatFormat.
/// Threading: any; copies share what cannot change.
class ChatParser {
 public:
  /// All text is content, byte by byte.
  ChatParser() = default;
  /// `prefilled`: the prompt ends inside the answer, and what it holds of it is no part of the message.
  ChatParser(std::shared_ptr<const common_chat_parser_params> params, bool prefilled)
      : params_(std::move(params)), prefilled_(prefilled) {}

  /// Another parser, of answers that follow a schema: it reads those that call no tool.
  void read_by_schema(std::shared_ptr<const common_chat_parser_params> params) {
    by_schema_ = std::move(params);
  }

  /// A text that the template's parser does not understand, or finds nothing in, is content, as it is.
  [[nodiscard]] ChatMessage parse(std::string_view text) const;

 private:
  friend class ChatStream;
  /// Requires: params_ is set. `text`: UTF-8. `partial`: more text may follow. Nothing: the text is not
  /// understood.
  [[nodiscard]] std::optional<ChatMessage> understand(const std::string& text, bool partial) const;
  /// What the prompt itself holds of the answer.
  [[nodiscard]] ChatMessage prefill() const;

  std::shared_ptr<const common_chat_parser_params> params_;     // null: all text is content
  std::shared_ptr<const common_chat_parser_params> by_schema_;  // null: there is none
  bool prefilled_ = false;
};

/// An answer of a chat that arrives in pieces. The deltas of all calls, put together, are the message; no
/// delta takes back an earlier one. From where the text is not understood on, all of it is content.
/// Threading: none.
class ChatStream {
 public:
  explicit ChatStream(ChatParser parser);

  /// `piece` may begin and end inside a character.
  [[nodiscard]] std::vector<ChatDelta> add(std::string_view piece);
  /// No more text follows. Call it once.
  [[nodiscard]] std::vector<ChatDelta> end();
  /// All deltas so far, put together.
  [[nodiscard]] const ChatMessage& told() const { return told_; }

 private:
  [[nodiscard]] std::vector<ChatDelta> update(bool last);
  [[nodiscard]] std::vector<ChatDelta> tell_the_rest();
  [[nodiscard]] std::vector<ChatDelta> tell_as_it_is(std::string_view text);
  void tell_calls(const std::vector<ToolCall>& calls, bool last, std::vector<ChatDelta>& out);
  void note_place_of(std::string_view told);

  ChatParser parser_;
  ChatMessage prefill_;
  std::string cut_;   // the first bytes of a character
  std::string text_;  // whole characters
  ChatMessage told_;
  std::size_t told_text_ = 0;  // bytes of text_ that the deltas tell, about
  bool understood_ = true;
};

}  // namespace brimful::chat
