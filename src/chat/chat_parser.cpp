#include "chat/chat_parser.h"

#include <chat.h>

#include <algorithm>
#include <random>

#include "chat/chat_templates.h"

namespace brimful::chat {
namespace {

/// The length in bytes of the character that begins at `at`; 0 when the text is no valid UTF-8 there, or ends
/// too early.
std::size_t character_at(std::string_view text, std::size_t at) {
  const auto byte = [&](std::size_t i) { return static_cast<unsigned char>(text[i]); };
  const unsigned char first = byte(at);
  if (first < 0x80) return 1;
  const std::size_t length = first >= 0xf0 ? 4 : first >= 0xe0 ? 3 : 2;
  if (first < 0xc2 || first > 0xf4 || at + length > text.size()) return 0;
  for (std::size_t i = 1; i < length; ++i) {
    if ((byte(at + i) & 0xc0) != 0x80) return 0;
  }
  const unsigned char second = byte(at + 1);
  const bool too_long = (first == 0xe0 && second < 0xa0) || (first == 0xf0 && second < 0x90);
  const bool no_character = (first == 0xed && second >= 0xa0) || (first == 0xf4 && second >= 0x90);
  return too_long || no_character ? 0 : length;
}

/// Number of bytes at the end of `text` that may be the beginning of a character.
std::size_t cut_at_end(std::string_view text) {
  for (std::size_t back = 1; back <= std::min<std::size_t>(text.size(), 3); ++back) {
    const auto byte = static_cast<unsigned char>(text[text.size() - back]);
    if (byte < 0x80) return 0;
    if (byte < 0xc0) continue;  // the middle of a character
    const std::size_t length = byte >= 0xf0 ? 4 : byte >= 0xe0 ? 3 : 2;
    return length > back ? back : 0;
  }
  return 0;
}

std::string as_utf8(std::string_view text) {
  std::string out;
  out.reserve(text.size());
  for (std::size_t at = 0; at < text.size();) {
    const std::size_t length = character_at(text, at);
    if (length == 0) {
      out += "\xef\xbf\xbd";  // U+FFFD
      ++at;
    } else {
      out += text.substr(at, length);
      at += length;
    }
  }
  return out;
}

/// Makes an id of nine letters and digits. Some templates of Mistral refuse any other id when a client sends
/// it back.
std::string new_call_id() {
  constexpr std::string_view kLetters = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
  thread_local std::mt19937_64 random{std::random_device{}()};
  std::uniform_int_distribution<std::size_t> any(0, kLetters.size() - 1);
  std::string out(9, ' ');
  std::ranges::generate(out, [&] { return kLetters[any(random)]; });
  return out;
}

ChatMessage to_message(const common_chat_msg& message) {
  ChatMessage out{
      .content = message.render_content(), .reasoning = message.reasoning_content, .tool_calls = {}};
  for (const common_chat_tool_call& call : message.tool_calls)
    out.tool_calls.push_back({call.id, call.name, call.arguments});
  return out;
}

/// Whether the message has no content at all. A parser may read a whole text as marks, for example a tool
/// call without a call in it.
bool is_empty(const ChatMessage& message) {
  return message.content.empty() && message.reasoning.empty() && message.tool_calls.empty();
}

/// Reads a text with one parser. Nothing: the parser does not understand the text.
std::optional<ChatMessage> read(const common_chat_parser_params* params, const std::string& text,
                                bool partial) {
  try {
    return to_message(parse_chat_answer(text, partial, *params));
  } catch (const std::exception&) {  // llama.cpp throws when its parser does not understand the text
    return std::nullopt;
  }
}

/// The common beginning of both texts.
std::string in_common(const std::string& one, const std::string& other) {
  return {one.begin(), std::ranges::mismatch(one, other).in1};
}

/// `text` without the beginning that it has in common with `prefix`.
std::string without(const std::string& text, const std::string& prefix) {
  return text.substr(static_cast<std::size_t>(std::ranges::mismatch(text, prefix).in1 - text.begin()));
}

/// The part of `now` behind `told`. While more text may follow, it is empty if `now` does not begin with
/// `told`.
std::string beyond(const std::string& told, const std::string& now, bool last) {
  if (!last && !now.starts_with(told)) return {};
  return without(now, told);
}

}  // namespace

std::optional<ChatMessage> ChatParser::understand(const std::string& text, bool partial) const {
  auto message = read(params_.get(), text, partial);
  if (by_schema_ == nullptr || (message && !message->tool_calls.empty())) return message;
  auto by_schema = read(by_schema_.get(), text, partial);
  if (!by_schema || !message || !partial) return by_schema ? by_schema : message;
  // The text may still become a call, and the JSON of a call is no content.
  by_schema->content = in_common(by_schema->content, message->content);
  by_schema->reasoning = in_common(by_schema->reasoning, message->reasoning);
  return by_schema;
}

ChatMessage ChatParser::prefill() const {
  return prefilled_ ? understand("", true).value_or(ChatMessage{}) : ChatMessage{};
}

ChatMessage ChatParser::parse(std::string_view text) const {
  if (params_ == nullptr) return {.content = std::string(text), .reasoning = {}, .tool_calls = {}};
  std::string clean = as_utf8(text);
  auto message = understand(clean, false);
  if (!message) return {.content = std::move(clean), .reasoning = {}, .tool_calls = {}};
  const ChatMessage before = prefill();
  message->content = without(message->content, before.content);
  message->reasoning = without(message->reasoning, before.reasoning);
  for (ToolCall& call : message->tool_calls) {
    if (call.id.empty()) call.id = new_call_id();
  }
  if (is_empty(*message)) message->content = std::move(clean);
  return std::move(*message);
}

ChatStream::ChatStream(ChatParser parser) : parser_(std::move(parser)), prefill_(parser_.prefill()) {}

std::vector<ChatDelta> ChatStream::add(std::string_view piece) {
  if (parser_.params_ == nullptr) return tell_as_it_is(piece);
  cut_ += piece;
  const std::size_t whole = cut_.size() - cut_at_end(cut_);
  if (whole == 0) return {};
  text_ += as_utf8(std::string_view(cut_).substr(0, whole));
  cut_.erase(0, whole);
  return update(false);
}

std::vector<ChatDelta> ChatStream::end() {
  if (parser_.params_ == nullptr) return {};
  text_ += as_utf8(std::exchange(cut_, {}));
  return update(true);
}

/// Reads the whole text again, and returns what is new in it. `last`: no more text follows.
std::vector<ChatDelta> ChatStream::update(bool last) {
  auto now = understood_ ? parser_.understand(text_, !last) : std::nullopt;
  understood_ = now.has_value();
  if (!now) return tell_the_rest();
  std::vector<ChatDelta> out;
  const auto tell = [&](std::string ChatDelta::*part, const std::string& added, std::string& told) {
    if (added.empty()) return;
    (out.emplace_back().*part) = added;
    told += added;
    note_place_of(added);
  };
  const auto added = [&](const std::string& before, const std::string& told, const std::string& text) {
    return beyond(before + told, text, last);
  };
  tell(&ChatDelta::reasoning, added(prefill_.reasoning, told_.reasoning, now->reasoning), told_.reasoning);
  tell(&ChatDelta::content, added(prefill_.content, told_.content, now->content), told_.content);
  tell_calls(now->tool_calls, last, out);
  if (last && is_empty(told_)) return tell_as_it_is(text_);
  return out;
}

/// The name of a call may still grow. So it is passed on when the arguments or the next call begin.
void ChatStream::tell_calls(const std::vector<ToolCall>& calls, bool last, std::vector<ChatDelta>& out) {
  for (std::size_t i = 0; i < calls.size(); ++i) {
    const bool is_new = i >= told_.tool_calls.size();
    const bool has_name =
        !calls[i].name.empty() && (last || i + 1 < calls.size() || !calls[i].arguments.empty());
    if (is_new && !has_name) return;
    ChatDelta::Call delta{.index = i, .added = {}};
    if (is_new) {
      delta.added.id = calls[i].id.empty() ? new_call_id() : calls[i].id;
      delta.added.name = calls[i].name;
      told_.tool_calls.push_back(delta.added);
    }
    std::string& told = told_.tool_calls[i].arguments;
    delta.added.arguments = beyond(told, calls[i].arguments, last);
    if (!is_new && delta.added.arguments.empty()) continue;
    told += delta.added.arguments;
    note_place_of(delta.added.arguments.empty() ? delta.added.name : delta.added.arguments);
    out.push_back({.content = {}, .reasoning = {}, .call = std::move(delta)});
  }
}

/// Finds the place in the text that the deltas have reached, by the last passed-on text.
void ChatStream::note_place_of(std::string_view told) {
  const std::size_t at = text_.rfind(told);
  told_text_ = at == std::string::npos ? text_.size() : std::max(told_text_, at + told.size());
}

/// Passes on the rest of the text as content, because the parser does not understand it.
std::vector<ChatDelta> ChatStream::tell_the_rest() {
  return tell_as_it_is(std::string_view(text_).substr(std::exchange(told_text_, text_.size())));
}

std::vector<ChatDelta> ChatStream::tell_as_it_is(std::string_view text) {
  if (text.empty()) return {};
  told_.content += text;
  return {{.content = std::string(text), .reasoning = {}, .call = {}}};
}

}  // namespace brimful::chat
