#include "engine/chat_format.h"

#include <chat.h>
#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "engine/answer_grammar.h"
#include "engine/chat_templates.h"
#include "engine/wide_objects.h"

namespace strata::engine {
namespace {

using nlohmann::json;

/// Bytes that are no UTF-8, as a prompt on the command line may have them, become U+FFFD.
std::string text_of(const json& value) { return value.dump(-1, ' ', false, json::error_handler_t::replace); }

common_json to_common(const json& value) { return common_json::parse(text_of(value)); }

std::unexpected<Error> refuse(std::string_view field, std::string_view why) {
  return fail(ErrorCode::kInvalidArgument, fmt::format("{}: {}", field, why));
}

common_chat_tool_choice to_common(ToolChoice choice) {
  switch (choice) {
    case ToolChoice::kAuto: return COMMON_CHAT_TOOL_CHOICE_AUTO;
    case ToolChoice::kRequired: return COMMON_CHAT_TOOL_CHOICE_REQUIRED;
    case ToolChoice::kNone: return COMMON_CHAT_TOOL_CHOICE_NONE;
  }
  return COMMON_CHAT_TOOL_CHOICE_AUTO;
}

/// Grammars of chat templates begin with what the template itself writes last, and llama.cpp lets them read
/// it token by token, all but a first one that begins with a space: that one may hold more than a space.
bool tokens_say(const llama_vocab* vocab, const std::string& text) {
  std::string said;
  bool first = true;
  for (const llama_token token : common_tokenize(vocab, text, false, true)) {
    const std::string piece = common_token_to_piece(vocab, token, true);
    const bool left_out = std::exchange(first, false) && piece.starts_with(' ') && !text.starts_with(' ');
    if (!left_out) said += piece;
  }
  return said == text;
}

Result<common_chat_templates_inputs> inputs_of(const ChatRequest& request) {
  common_chat_templates_inputs out;
  try {
    out.messages = common_chat_msgs_parse_oaicompat(to_common(request.messages));
  } catch (const std::exception& error) {
    return refuse("messages", error.what());
  }
  try {
    if (!request.tools.is_null()) out.tools = common_chat_tools_parse_oaicompat(to_common(request.tools));
  } catch (const std::exception& error) {
    return refuse("tools", error.what());
  }
  out.tool_choice = to_common(request.tool_choice);
  out.parallel_tool_calls = request.parallel_tool_calls;
  out.enable_thinking = request.enable_thinking;
  for (const auto& [name, value] : request.template_arguments)
    out.chat_template_kwargs[name] = text_of(value);
  out.reasoning_format = COMMON_REASONING_FORMAT_DEEPSEEK;
  return out;
}

/// A user's own grammar, or the one of a schema that the template does not put into its own.
/// Errors: kInvalidArgument.
Status add_rules(const llama_vocab* vocab, const ChatRequest& request, const common_chat_params& chat,
                 common_params_sampling& out) {
  const bool has_rules = !request.grammar.empty();
  const bool begins = chat.grammar_lazy || tokens_say(vocab, chat.generation_prompt);
  if (has_rules && (request.grammar.type == COMMON_GRAMMAR_TYPE_USER || chat.grammar.empty() || !begins)) {
    out.grammar = request.grammar;
  } else if (!chat.grammar.empty() && !begins) {
    return refuse("tools", "this model's tokenizer cannot express what its chat template ends with");
  } else if (!chat.grammar.empty()) {
    out.grammar = {has_rules ? request.grammar.type : COMMON_GRAMMAR_TYPE_TOOL_CALLS, chat.grammar};
    out.grammar_lazy = chat.grammar_lazy;
    out.grammar_triggers = chat.grammar_triggers;
    out.generation_prompt = chat.generation_prompt;
  }
  return {};
}

}  // namespace

struct ChatFormat::Templates {
  common_chat_templates_ptr of_model;
};

ChatFormat::ChatFormat(const Engine& engine, std::unique_ptr<Templates> templates)
    : engine_(engine), templates_(std::move(templates)) {}
ChatFormat::ChatFormat(ChatFormat&&) noexcept = default;
ChatFormat::~ChatFormat() = default;

Result<ChatFormat> ChatFormat::create(const Engine& engine, const std::string& chat_template) {
  auto templates = std::make_unique<Templates>();
  auto read = read_chat_templates(engine.model(), chat_template);
  if (!read)
    return fail(ErrorCode::kUnsupported,
                fmt::format("the chat template cannot be read: {}", read.error().message));
  templates->of_model = std::move(*read);
  return ChatFormat(engine, std::move(templates));
}

Result<ChatPrompt> ChatFormat::apply(const ChatRequest& request) const {
  STRATA_TRY(common_chat_templates_inputs inputs, inputs_of(request));
  ReadySchema schema;
  if (request.json_schema) {
    STRATA_TRY(schema, ready_schema(text_of(*request.json_schema), "response_format"));
    inputs.json_schema = schema.text;
  }
  ChatPrompt out;
  common_chat_params chat;
  const auto params = std::make_shared<common_chat_parser_params>();
  try {
    chat = apply_chat_templates(templates_->of_model.get(), inputs, *params);
    params->reasoning_format = inputs.reasoning_format;
  } catch (const std::exception& error) {  // a template may refuse roles, tools, an order of messages
    return refuse("messages", fmt::format("the model's chat template refuses them: {}", error.what()));
  }
  if (schema.is_marked && !chat.grammar.empty()) {
    STRATA_TRY(chat.grammar, unmark_wide_objects(chat.grammar));
  }
  out.parser = ChatParser(params, false);
  STRATA_TRY_VOID(add_rules(engine_.vocab(), request, chat, out.rules));
  for (const std::string& piece : chat.preserved_tokens) {
    const auto tokens = common_tokenize(engine_.vocab(), piece, false, true);
    if (tokens.size() == 1) out.rules.preserved_tokens.insert(tokens.front());
  }
  out.stops = std::move(chat.additional_stops);
  auto tokens = tokenize(engine_.vocab(), chat.prompt, true, true);
  if (!tokens) return refuse("messages", tokens.error().message);
  out.tokens = std::move(*tokens);
  return out;
}

void ChatPrompt::constrain(common_params_sampling& sampling) const {
  sampling.grammar = rules.grammar;
  sampling.grammar_lazy = rules.grammar_lazy;
  sampling.grammar_triggers = rules.grammar_triggers;
  sampling.generation_prompt = rules.generation_prompt;
  sampling.preserved_tokens = rules.preserved_tokens;
}

Result<std::vector<llama_token>> tokenize(const llama_vocab* vocab, const std::string& text, bool special,
                                          bool parse) {
  try {
    return common_tokenize(vocab, text, special, parse);
  } catch (const std::exception&) {  // a vocabulary without byte tokens
    return fail(ErrorCode::kUnsupported, "the model's vocabulary cannot express this text");
  }
}

}  // namespace strata::engine
