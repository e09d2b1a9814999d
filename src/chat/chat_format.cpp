#include "chat/chat_format.h"

#include <chat.h>
#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "chat/chat_templates.h"
#include "chat/framed_schema.h"
#include "constraint/answer_grammar.h"
#include "constraint/wide_objects.h"
#include "engine/tokenize.h"
#include "foreign/foreign_limits.h"

namespace brimful::chat {
namespace {

using json = nlohmann::ordered_json;

/// The JSON text of a value. Invalid UTF-8, which a prompt on the command line may contain, becomes U+FFFD.
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

/// Whether the tokens of `text` are read as exactly this text. Grammars of chat templates begin with the last
/// text that the template itself writes, and llama.cpp lets the grammar read it token by token. It leaves out
/// a first token that begins with a space, and that token may hold more than a space.
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
  out.enable_thinking = request.enable_thinking;
  for (const auto& [name, value] : request.template_arguments)
    out.chat_template_kwargs[name] = text_of(value);
  out.reasoning_format =
      request.thoughts_apart ? COMMON_REASONING_FORMAT_DEEPSEEK : COMMON_REASONING_FORMAT_NONE;
  if (request.continues) {
    out.continue_final_message = COMMON_CHAT_CONTINUATION_AUTO;
    out.add_generation_prompt = false;
  }
  return out;
}

/// Finds the field that the template refuses: without this field, the template accepts the chat.
std::string_view field_at_fault(const common_chat_templates* templates,
                                const common_chat_templates_inputs& inputs) {
  const auto does_without = [&](auto&& leave_out) {
    common_chat_templates_inputs less = inputs;
    leave_out(less);
    try {
      (void)apply_chat_templates(templates, less);
      return true;
    } catch (const std::exception&) {
      return false;
    }
  };
  if (!inputs.chat_template_kwargs.empty() &&
      does_without([](auto& less) { less.chat_template_kwargs.clear(); }))
    return "chat_template_kwargs";
  if (!inputs.json_schema.empty() && does_without([](auto& less) { less.json_schema.clear(); }))
    return "response_format";
  if (!inputs.tools.empty() && does_without([](auto& less) { less.tools.clear(); })) return "tools";
  return "messages";
}

/// A model's templates, and whether the request's schema was marked, see constraint::ready_schema().
struct Template {
  const common_chat_templates* templates = nullptr;
  bool schema_is_marked = false;
};

Result<common_chat_params> apply_template(const Template& model, const common_chat_templates_inputs& inputs) {
  try {
    common_chat_params out = apply_chat_templates(model.templates, inputs);
    const bool continues = inputs.continue_final_message != COMMON_CHAT_CONTINUATION_NONE;
    const bool may_call = !inputs.tools.empty() && inputs.tool_choice != COMMON_CHAT_TOOL_CHOICE_NONE;
    if (!inputs.json_schema.empty() && !may_call && !continues)
      BRIMFUL_TRY_VOID(frame_schema(model.templates, inputs, out));
    if (model.schema_is_marked && !inputs.json_schema.empty() && !out.grammar.empty()) {
      BRIMFUL_TRY(out.grammar, constraint::unmark_wide_objects(out.grammar));
    }
    return out;
  } catch (const std::exception& error) {  // a template may refuse roles, tools, an order of messages
    return fail(ErrorCode::kUnsupported, fmt::format("{}: the model's chat template refuses this: {}",
                                                     field_at_fault(model.templates, inputs), error.what()));
  }
}

using SharedParser = std::shared_ptr<const common_chat_parser_params>;

Result<SharedParser> parser_of(const common_chat_params& chat, const common_chat_templates_inputs& inputs) {
  auto read = read_chat_parser(chat);
  if (!read) return refuse("messages", read.error().message);
  auto out = std::make_shared<common_chat_parser_params>(std::move(*read));
  out->reasoning_format = inputs.reasoning_format;
  out->is_continuation = inputs.continue_final_message != COMMON_CHAT_CONTINUATION_NONE;
  return out;
}

/// Puts the rules and the template's grammar together. `rules` is the user's own grammar, or the grammar of a
/// schema, which the template's grammar does not always include. Errors: kInvalidArgument.
Status add_rules(const llama_vocab* vocab, const common_grammar& rules, const common_chat_params& chat,
                 common_params_sampling& out) {
  const bool has_rules = !rules.empty();
  const bool begins = chat.grammar_lazy || tokens_say(vocab, chat.generation_prompt);
  if (has_rules && (rules.type == COMMON_GRAMMAR_TYPE_USER || chat.grammar.empty() || !begins)) {
    out.grammar = {COMMON_GRAMMAR_TYPE_USER, rules.grammar};  // the grammar begins with the answer itself
  } else if (!chat.grammar.empty() && !begins) {
    return refuse("tools", "this model's tokenizer cannot express the end of its chat template");
  } else if (!chat.grammar.empty()) {
    out.grammar = {has_rules ? rules.type : COMMON_GRAMMAR_TYPE_TOOL_CALLS, chat.grammar};
    out.grammar_lazy = chat.grammar_lazy;
    out.grammar_triggers = chat.grammar_triggers;
    out.generation_prompt = chat.generation_prompt;
  }
  return {};
}

/// A template applied to a request, and the rules for its answer.
struct Applied {
  common_chat_params chat;
  common_grammar rules;           // a grammar in addition to the template's own
  SharedParser parser_of_schema;  // null: the template's own parser reads all answers
};

/// For a request in which the model may call a tool, or answer by a schema. Templates know only one of the
/// two, so the grammar here allows either.
Result<Applied> let_answer_or_call(const Template& model, const common_chat_templates_inputs& inputs,
                                   const common_grammar& rules) {
  common_chat_templates_inputs calls = inputs;
  calls.json_schema.clear();
  common_chat_templates_inputs answers = inputs;
  answers.tools.clear();
  Applied out{.chat = {}, .rules = rules, .parser_of_schema = {}};
  BRIMFUL_TRY(out.chat, apply_template(model, calls));
  calls.tool_choice = COMMON_CHAT_TOOL_CHOICE_REQUIRED;
  BRIMFUL_TRY(const common_chat_params must_call, apply_template(model, calls));
  BRIMFUL_TRY(const common_chat_params must_answer, apply_template(model, answers));
  if (must_call.grammar.empty()) {  // the template knows no tools
    out.chat.grammar = must_answer.grammar;
    out.chat.parser = must_answer.parser;
  } else if (must_answer.grammar.empty()) {  // the template knows no schemas
    out.chat.grammar = constraint::either_grammar(
        must_call.grammar, constraint::grammar_behind(out.chat.generation_prompt, rules.grammar));
  } else {
    out.chat.grammar = constraint::either_grammar(must_call.grammar, must_answer.grammar);
    BRIMFUL_TRY(out.parser_of_schema, parser_of(must_answer, answers));
  }
  out.chat.grammar_lazy = false;
  out.chat.grammar_triggers.clear();
  return out;
}

Result<Applied> apply_to(const Template& model, common_chat_templates_inputs& inputs,
                         const ChatRequest& request, std::vector<std::string>& warnings) {
  const auto able = common_chat_templates_get_caps(model.templates);
  const auto can = [&](const char* what) {
    const auto at = able.find(what);
    return at != able.end() && at->second;
  };
  inputs.parallel_tool_calls = request.parallel_tool_calls.value_or(can("supports_parallel_tool_calls"));
  const bool may_call = !inputs.tools.empty() && request.tool_choice != ToolChoice::kNone;
  const bool must_call = may_call && request.tool_choice == ToolChoice::kRequired;
  if (may_call && !must_call && request.json_schema)
    return let_answer_or_call(model, inputs, request.grammar);
  if (must_call) inputs.json_schema.clear();  // a call is required, so there is no content for a schema
  Applied out{.chat = {}, .rules = must_call ? common_grammar() : request.grammar, .parser_of_schema = {}};
  BRIMFUL_TRY(out.chat, apply_template(model, inputs));
  if (must_call && out.chat.grammar.empty())
    return refuse("tool_choice",
                  "this model's chat template does not support tools, so a call cannot be required");
  if (may_call && !can("supports_tools") && !can("supports_tool_calls"))
    warnings.emplace_back(
        "tools: this model's chat template does not support tools, so the model does not see them");
  return out;
}

/// Sets the marks at which thoughts begin and end. A grammar for tools waits for the end, and the limit of
/// thoughts ends them there.
void add_thinking(const llama_vocab* vocab, const ChatRequest& request, const common_chat_params& chat,
                  common_params_sampling& out) {
  if (chat.thinking_end_tags.empty() || chat.thinking_start_tag.empty()) return;
  out.reasoning_budget_start = common_tokenize(vocab, chat.thinking_start_tag, false, true);
  for (const std::string& tag : chat.thinking_end_tags) {
    if (!tag.empty()) out.reasoning_budget_end.push_back(common_tokenize(vocab, tag, false, true));
  }
  if (!out.reasoning_budget_end.empty()) out.reasoning_budget_forced = out.reasoning_budget_end.front();
  out.reasoning_budget_tokens = request.thinking_tokens.value_or(-1);
  out.generation_prompt = chat.generation_prompt;
}

/// Makes the tokens of a mark appear as text. For a mark of several tokens, that is only necessary for
/// control tokens: the others are text anyway.
void preserve(const llama_vocab* vocab, const std::string& mark, common_params_sampling& out) {
  const auto tokens = common_tokenize(vocab, mark, false, true);
  for (const llama_token token : tokens) {
    if (tokens.size() == 1 || llama_vocab_is_control(vocab, token)) out.preserved_tokens.insert(token);
  }
}

}  // namespace

struct ChatFormat::Templates {
  common_chat_templates_ptr of_model;
};

ChatFormat::ChatFormat(const engine::Engine& engine, std::unique_ptr<Templates> templates)
    : engine_(engine), templates_(std::move(templates)) {}
ChatFormat::ChatFormat(ChatFormat&&) noexcept = default;
ChatFormat::~ChatFormat() = default;

Result<ChatFormat> ChatFormat::create(const engine::Engine& engine, const std::string& chat_template) {
  auto templates = std::make_unique<Templates>();
  auto read = read_chat_templates(engine.model(), chat_template);
  if (!read)
    return fail(ErrorCode::kUnsupported,
                fmt::format("the chat template cannot be read: {}", read.error().message));
  templates->of_model = std::move(*read);
  return ChatFormat(engine, std::move(templates));
}

Result<ChatPrompt> ChatFormat::apply(const ChatRequest& request) const {
  BRIMFUL_TRY(common_chat_templates_inputs inputs, inputs_of(request));
  constraint::ReadySchema schema;
  if (request.json_schema) {
    BRIMFUL_TRY(schema, constraint::ready_schema(text_of(*request.json_schema), "response_format"));
    inputs.json_schema = schema.text;
  }
  ChatPrompt out;
  const Template model{templates_->of_model.get(), schema.is_marked};
  BRIMFUL_TRY(Applied applied, apply_to(model, inputs, request, out.warnings));
  common_chat_params& chat = applied.chat;
  BRIMFUL_TRY(SharedParser parser, parser_of(chat, inputs));
  out.parser = ChatParser(std::move(parser), request.continues);
  if (applied.parser_of_schema) out.parser.read_by_schema(applied.parser_of_schema);
  BRIMFUL_TRY_VOID(add_rules(engine_.vocab(), applied.rules, chat, out.rules));
  add_thinking(engine_.vocab(), request, chat, out.rules);
  for (const std::string& mark : chat.preserved_tokens) preserve(engine_.vocab(), mark, out.rules);
  out.stops = std::move(chat.additional_stops);
  auto tokens = engine::tokenize_bounded(engine_, chat.prompt, true, true);
  if (!tokens) return refuse("messages", tokens.error().message);
  out.tokens = std::move(*tokens);
  if (const auto note = two_beginnings(engine_.vocab(), out.tokens))
    out.warnings.push_back(fmt::format("messages: {}", *note));
  return out;
}

std::optional<std::string> two_beginnings(const llama_vocab* vocab, const std::vector<llama_token>& prompt) {
  const llama_token bos = llama_vocab_bos(vocab);
  if (!llama_vocab_get_add_bos(vocab) || prompt.size() < 2 || prompt[0] != bos || prompt[1] != bos)
    return std::nullopt;
  return "the prompt begins with two BOS tokens, its own and the model's: leave its own out";
}

void ChatPrompt::constrain(common_params_sampling& sampling) const {
  sampling.grammar = rules.grammar;
  sampling.grammar_lazy = rules.grammar_lazy;
  sampling.grammar_triggers = rules.grammar_triggers;
  sampling.generation_prompt = rules.generation_prompt;
  sampling.preserved_tokens = rules.preserved_tokens;
  sampling.reasoning_budget_tokens = rules.reasoning_budget_tokens;
  sampling.reasoning_budget_start = rules.reasoning_budget_start;
  sampling.reasoning_budget_end = rules.reasoning_budget_end;
  sampling.reasoning_budget_forced = rules.reasoning_budget_forced;
}

}  // namespace brimful::chat
