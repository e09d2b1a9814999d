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

/// A call of a tool that the model asks for.
struct ToolCall {
  /// The model's own id, or nine random letters and digits when the model gives none.
  std::string id;
  std::string name;
  /// JSON as the model wrote it. It is not checked.
  std::string arguments;
};

/// An answer of a chat, without the marks by which the chat template separates its parts. All strings are
/// UTF-8: invalid bytes become U+FFFD. An answer that is parsed without a template keeps its bytes.
struct ChatMessage {
  std::string content;
  /// The model's thoughts before the answer.
  std::string reasoning;
  std::vector<ToolCall> tool_calls;
};

/// What new text adds to a ChatMessage. Exactly one of the three fields has a value.
struct ChatDelta {
  std::string content;
  std::string reasoning;
  struct Call {
    /// Index of the call, from 0.
    std::size_t index = 0;
    /// The new part of the call. Only the first delta of a call has `id` and `name`.
    ToolCall added;
  };
  std::optional<Call> call;
};

/// Reads the text that a model generates after one prompt of ChatFormat. Thread-safe; copies share the
/// parsers, which never change.
class ChatParser {
 public:
  /// Makes a parser without a template: all text is content, byte by byte.
  ChatParser() = default;
  /// `prefilled`: the prompt already contains the beginning of the answer. The messages leave that beginning
  /// out.
  ChatParser(std::shared_ptr<const common_chat_parser_params> params, bool prefilled)
      : params_(std::move(params)), prefilled_(prefilled) {}

  /// Sets a second parser for answers that follow a JSON schema. It reads the answers that call no tool.
  void read_by_schema(std::shared_ptr<const common_chat_parser_params> params) {
    by_schema_ = std::move(params);
  }

  /// Reads a whole answer. When the template's parser does not understand the text, or finds nothing in it,
  /// the whole text becomes content.
  [[nodiscard]] ChatMessage parse(std::string_view text) const;

 private:
  friend class ChatStream;
  /// Reads `text`, which is UTF-8. `partial`: more text may follow. Returns nothing when the parsers do not
  /// understand the text. Requires: params_ is set.
  [[nodiscard]] std::optional<ChatMessage> understand(const std::string& text, bool partial) const;
  /// The part of the answer that the prompt already contains.
  [[nodiscard]] ChatMessage prefill() const;

  std::shared_ptr<const common_chat_parser_params> params_;     // null: all text is content
  std::shared_ptr<const common_chat_parser_params> by_schema_;  // null: there is none
  bool prefilled_ = false;
};

/// An answer of a chat that arrives in pieces. All deltas together give the message; a delta never takes back
/// an earlier one. When the parser stops understanding the text, the rest of the text becomes content. Not
/// thread-safe.
class ChatStream {
 public:
  explicit ChatStream(ChatParser parser);

  /// Adds a piece, which may begin and end inside a character. Returns the new deltas.
  [[nodiscard]] std::vector<ChatDelta> add(std::string_view piece);
  /// Ends the answer: no more text follows. Called once. Returns the last deltas.
  [[nodiscard]] std::vector<ChatDelta> end();
  /// The sum of all deltas so far.
  [[nodiscard]] const ChatMessage& told() const { return told_; }

 private:
  [[nodiscard]] std::vector<ChatDelta> update(bool last);
  [[nodiscard]] std::vector<ChatDelta> tell_the_rest();
  [[nodiscard]] std::vector<ChatDelta> tell_as_it_is(std::string_view text);
  void tell_calls(const std::vector<ToolCall>& calls, bool last, std::vector<ChatDelta>& out);
  void note_place_of(std::string_view told);

  ChatParser parser_;
  ChatMessage prefill_;
  std::string cut_;   // bytes at the end of the text that are an incomplete character
  std::string text_;  // the text so far, without `cut_`
  ChatMessage told_;
  std::size_t told_text_ = 0;  // bytes of text_ that the deltas have passed on; an estimate
  bool understood_ = true;
};

}  // namespace brimful::chat
