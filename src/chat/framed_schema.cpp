#include "chat/framed_schema.h"

#include <chat-peg-parser.h>
#include <fmt/format.h>
#include <json-schema-to-grammar.h>

#include <algorithm>
#include <exception>
#include <optional>
#include <string>
#include <string_view>
#include <tuple>
#include <utility>

#include "chat/chat_templates.h"
#include "foreign/foreign_limits.h"

namespace brimful::chat {
namespace {

constexpr std::string_view kContent = "CONTENT_OF_THE_ANSWER";
constexpr std::string_view kThoughts = "THOUGHTS_OF_THE_MODEL";

std::string_view trimmed(std::string_view text) {
  constexpr std::string_view kSpace = " \t\r\n";
  const std::size_t begin = text.find_first_not_of(kSpace);
  if (begin == std::string_view::npos) return {};
  return text.substr(begin, text.find_last_not_of(kSpace) - begin + 1);
}

/// The text that the template writes between the prompt and the content of an answer. Nothing when the
/// template does not write answers of a history in the form in which they follow a prompt.
std::optional<std::string> before_content(const common_chat_templates* templates,
                                          common_chat_templates_inputs inputs, const std::string& prompt,
                                          bool thinks) {
  common_chat_msg answer;
  answer.role = "assistant";
  answer.content = kContent;
  if (thinks) answer.reasoning_content = kThoughts;
  inputs.messages.push_back(std::move(answer));
  inputs.add_generation_prompt = false;
  try {
    const std::string all = apply_chat_templates(templates, inputs).prompt;
    if (!all.starts_with(prompt)) return std::nullopt;
    const std::size_t content = all.find(kContent, prompt.size());
    if (content == std::string::npos) return std::nullopt;
    return all.substr(prompt.size(), content - prompt.size());
  } catch (const std::exception&) {  // a template may refuse an answer in this place
    return std::nullopt;
  }
}

/// The text that may stand before the content.
struct Frame {
  struct Thoughts {
    std::string begin;
    std::string end;
    std::string stop;  // the beginning of `end` that cannot occur in thoughts
  };
  std::optional<Thoughts> thoughts;
  std::optional<std::string> plain;  // the text before the content of an answer without thoughts
};

/// `text` without the tags of thoughts at its beginning.
std::string without_tags(std::string_view text, std::string_view begin, std::string_view end) {
  for (const std::string_view tag : {trimmed(begin), trimmed(end)}) {
    if (trimmed(text).starts_with(tag)) text = trimmed(text).substr(tag.size());
  }
  return std::string(text);
}

std::optional<Frame::Thoughts> thoughts_of(const common_chat_templates* templates,
                                           const common_chat_templates_inputs& inputs,
                                           const common_chat_params& chat, const std::string& plain) {
  const auto rendered = before_content(templates, inputs, chat.prompt, true);
  const std::size_t at = rendered ? rendered->find(kThoughts) : std::string::npos;
  if (at != std::string::npos)
    return Frame::Thoughts{
        .begin = rendered->substr(0, at), .end = rendered->substr(at + kThoughts.size()), .stop = {}};
  if (chat.thinking_start_tag.empty() || chat.thinking_end_tags.empty()) return std::nullopt;
  // The template leaves thoughts out of a history. So they stand before the text that it writes without them.
  const std::string& begin = chat.thinking_start_tag;
  const std::string& end = chat.thinking_end_tags.front();
  const bool begun = trimmed(chat.prompt).ends_with(trimmed(begin));
  return Frame::Thoughts{
      .begin = begun ? "" : begin, .end = end + without_tags(plain, begin, end), .stop = {}};
}

Frame frame_of(const common_chat_templates* templates, const common_chat_templates_inputs& inputs,
               const common_chat_params& chat, std::optional<std::string> plain) {
  Frame out{.thoughts = thoughts_of(templates, inputs, chat, plain.value_or("")), .plain = std::move(plain)};
  if (!out.thoughts) return out;
  const std::string_view end = trimmed(out.thoughts->end);
  out.thoughts->stop = end;
  for (const std::string& tag : chat.thinking_end_tags) {
    if (!trimmed(tag).empty() && end.starts_with(trimmed(tag))) out.thoughts->stop = trimmed(tag);
  }
  if (end.empty()) out.thoughts.reset();
  return out;
}

/// Whether the template's own parser reads JSON behind the text that the template writes before it.
bool reads_behind(const std::string& before, const common_chat_params& chat,
                  const common_chat_templates_inputs& inputs) {
  auto parser = read_chat_parser(chat);
  if (!parser) return false;
  parser->reasoning_format = inputs.reasoning_format;
  try {
    return trimmed(parse_chat_answer(before + "{}", false, *parser).render_content()) == "{}";
  } catch (const std::exception&) {  // llama.cpp throws when its parser does not understand the text
    return false;
  }
}

common_peg_arena parser_of(const Frame& frame, const common_chat_templates_inputs& inputs,
                           const common_chat_params& chat) {
  const bool apart = inputs.reasoning_format != COMMON_REASONING_FORMAT_NONE;
  return build_chat_peg_parser([&](common_chat_peg_builder& p) {
    auto before = p.choice();
    bool must_end_thoughts = false;
    if (frame.thoughts) {
      const auto& [begin, end, stop] = *frame.thoughts;
      const auto text = p.until(stop);
      before |= p.optspace(begin) + (apart ? p.reasoning(text) : text) + p.optspace(end);
      must_end_thoughts = trimmed(begin).empty();
    }
    if (frame.plain && !trimmed(*frame.plain).empty()) {
      before |= p.optspace(*frame.plain);
    } else if (!must_end_thoughts) {
      before |= p.eps();
    }
    const auto json = p.schema(p.json(), "response-format-schema", common_json::parse(inputs.json_schema));
    const auto content = apart ? p.content(json) : json;
    // Many models put JSON into such a block when they are asked for JSON.
    const auto block = p.literal("```json") + p.space() + content + p.space() + p.literal("```");
    const auto framed = before + p.space() + (block | content);
    const auto answer = apart ? framed : p.content(framed);
    return p.literal(chat.generation_prompt) + answer + p.space() + p.end();
  });
}

}  // namespace

Status frame_schema(const common_chat_templates* templates, const common_chat_templates_inputs& inputs,
                    common_chat_params& chat) {
  auto plain = before_content(templates, inputs, chat.prompt, false);
  if (!chat.grammar.empty() && (!plain || reads_behind(*plain, chat, inputs))) return {};
  const Frame frame = frame_of(templates, inputs, chat, std::move(plain));
  auto made = foreign::read_foreign([&](const foreign::Fence&) {
    const common_peg_arena parser = parser_of(frame, inputs, chat);
    std::string grammar =
        build_grammar([&](const common_grammar_builder& builder) { parser.build_grammar(builder, false); });
    return std::pair(std::move(grammar), parser.save());
  });
  if (!made)
    return fail(
        ErrorCode::kInvalidArgument,
        fmt::format("response_format: is not a schema that can be followed: {}", made.error().message));
  std::tie(chat.grammar, chat.parser) = std::move(*made);
  chat.format = COMMON_CHAT_FORMAT_PEG_NATIVE;
  chat.grammar_lazy = false;
  chat.grammar_triggers.clear();
  return {};
}

}  // namespace brimful::chat
