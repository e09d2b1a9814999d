#include "session/chat_request.h"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "base/json_text.h"

namespace brimful::session {
namespace {

using json = nlohmann::ordered_json;

// The largest depth of a value for a chat template. No template goes that deep.
constexpr std::size_t kDeepestArgument = 64;

json json_of(const Message& message) {
  json out = {{"role", message.role}, {"content", message.content}};
  if (!message.reasoning.empty()) out["reasoning_content"] = message.reasoning;
  if (!message.tool_call_id.empty()) out["tool_call_id"] = message.tool_call_id;
  if (!message.name.empty()) out["name"] = message.name;
  for (const ToolCall& call : message.tool_calls)
    out["tool_calls"].push_back({{"type", "function"},
                                 {"id", call.id},
                                 {"function", {{"name", call.name}, {"arguments", call.arguments}}}});
  return out;
}

Result<json> json_of(const Tool& tool, std::size_t index, const Notes& notes) {
  if (tool.name.empty())
    return fail(ErrorCode::kInvalidArgument, fmt::format("tools[{}].name: is missing", index));
  json function = {{"name", tool.name}, {"description", tool.description}};
  if (!tool.parameters.empty()) {
    BRIMFUL_TRY(
        function["parameters"],
        readable_schema(tool.parameters, fmt::format("tools[{}].parameters", index), notes, tool.strict));
  }
  return json{{"type", "function"}, {"function", std::move(function)}};
}

chat::ToolChoice choice_of(ToolChoice choice) {
  switch (choice) {
    case ToolChoice::kAuto: return chat::ToolChoice::kAuto;
    case ToolChoice::kRequired: return chat::ToolChoice::kRequired;
    case ToolChoice::kNone: break;
  }
  return chat::ToolChoice::kNone;
}

}  // namespace

Result<chat::ChatRequest> chat_request(const Prompt& prompt, AnswerRules rules, const Notes& notes) {
  chat::ChatRequest out;
  for (const Message& message : prompt.messages) {
    if (message.role.empty())
      return fail(ErrorCode::kInvalidArgument,
                  fmt::format("messages[{}].role: is missing", &message - prompt.messages.data()));
    out.messages.push_back(json_of(message));
  }
  for (std::size_t i = 0; i < prompt.tools.size(); ++i) {
    BRIMFUL_TRY(json tool, json_of(prompt.tools[i], i, notes));
    out.tools.push_back(std::move(tool));
  }
  if (prompt.tool_choice == ToolChoice::kRequired && prompt.tools.empty())
    return fail(ErrorCode::kInvalidArgument, "tool_choice: requires tools, and there are none");
  if (prompt.continues_last_message && prompt.messages.back().role != "assistant")
    return fail(ErrorCode::kInvalidArgument,
                "continues_last_message: the last message is not the assistant's");
  out.tool_choice = choice_of(prompt.tool_choice);
  out.parallel_tool_calls = prompt.parallel_tool_calls;
  out.enable_thinking = prompt.thinking;
  if (prompt.thinking_tokens)
    out.thinking_tokens = static_cast<int>(std::min<std::uint32_t>(*prompt.thinking_tokens, INT32_MAX));
  out.thoughts_apart = prompt.thoughts_apart;
  out.continues = prompt.continues_last_message;
  for (const auto& [name, text] : prompt.template_arguments) {
    auto value = parse_ordered_json(text, kDeepestArgument);
    if (!value)
      return fail(ErrorCode::kInvalidArgument,
                  fmt::format("template_arguments.{}: {}", name, value.error().message));
    out.template_arguments.emplace(name, std::move(*value));
  }
  out.json_schema = std::move(rules.schema);
  out.grammar = std::move(rules.grammar);
  return out;
}

}  // namespace brimful::session
