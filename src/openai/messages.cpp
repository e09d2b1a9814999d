#include "openai/messages.h"

#include <fmt/format.h>

#include <algorithm>

#include "base/json_text.h"
#include "openai/fields.h"

namespace brimful::openai {
namespace {

using json = nlohmann::ordered_json;

/// Parts of the content must be text. An assistant's refusal, which is a part of its own in OpenAI's API,
/// becomes text.
Status read_parts(const Fields& fields, json& parts) {
  for (json& part : parts) {
    const auto has_text = [&](const char* key) {
      return part.is_object() && part.contains(key) && part[key].is_string();
    };
    const bool is_refusal = has_text("type") && part["type"] == "refusal" && has_text("refusal");
    if (is_refusal) part = {{"type", "text"}, {"text", json(part["refusal"])}};
    if (!has_text("type") || part["type"] != "text" || !has_text("text"))
      return fields.refuse("content", "parts must be text: images and audio are not supported");
  }
  return {};
}

/// The arguments of a call become a JSON text, as templates expect them. Missing arguments become `{}`.
Status read_call(json& call, const std::string& path) {
  const Fields outer(call, path + ".");
  if (!call.is_object()) return outer.refuse("function", "is missing");
  const json* const given = outer.find("function");
  if (given == nullptr || !given->is_object()) return outer.refuse("function", "must be an object");
  call["type"] = "function";  // must come first: adding a member moves the others
  json& function = call["function"];
  const Fields fields(function, path + ".function.");
  BRIMFUL_TRY(const auto name, fields.text("name"));
  if (!name || name->empty()) return fields.refuse("name", "is missing");
  const json* const arguments = fields.find("arguments");
  const auto is_blank = [](const json& text) {
    return text.is_string() &&
           text.get_ref<const std::string&>().find_first_not_of(" \t\r\n") == std::string::npos;
  };
  if (arguments == nullptr || is_blank(*arguments)) {
    function["arguments"] = "{}";
  } else if (arguments->is_object()) {
    function["arguments"] = arguments->dump(-1, ' ', false, json::error_handler_t::replace);
  } else if (!arguments->is_string()) {
    return fields.refuse("arguments", "must be a string of JSON");
  } else if (const std::string& text = arguments->get_ref<const std::string&>(); !json::accept(text)) {
    return fields.refuse("arguments",
                         "is incomplete JSON: this call was cut off, as by a limit of tokens; remove it from "
                         "the conversation, or complete it");
  } else if (const auto read = parse_json(text); !read) {  // templates use recursion for each level
    return fields.refuse("arguments", read.error().message);
  }
  return {};
}

/// Clients send back all fields of an answer; a field that is null is removed. `reasoning` is vLLM's name for
/// `reasoning_content`.
Status read_texts(json& message, const std::string& path) {
  const Fields fields(message, path + ".");
  for (const char* const name : {"reasoning_content", "reasoning", "name", "tool_call_id"}) {
    BRIMFUL_TRY(const auto text, fields.text(name));
    if (!text) message.erase(name);
  }
  if (message.contains("reasoning") && !message.contains("reasoning_content"))
    message["reasoning_content"] = json(message["reasoning"]);
  return {};
}

Status read_message(json& message, const std::string& path) {
  const Fields fields(message, path + ".");
  BRIMFUL_TRY(const auto role, fields.text("role"));
  if (!role) return fields.refuse("role", "is missing");
  BRIMFUL_TRY_VOID(read_texts(message, path));
  bool calls = false;
  if (const json* const given = fields.find("tool_calls")) {
    if (!given->is_array()) return fields.refuse("tool_calls", "must be an array");
    calls = !given->empty();
    json& list = message["tool_calls"];
    for (std::size_t i = 0; i < list.size(); ++i)
      BRIMFUL_TRY_VOID(read_call(list[i], fmt::format("{}.tool_calls[{}]", path, i)));
  }
  const json* const content = fields.find("content");
  if (content == nullptr) {
    if (!message.contains("content") && !calls) return fields.refuse("content", "is missing");
    if (!calls) message["content"] = "";  // null: nothing is said
    return {};
  }
  if (content->is_string()) return {};
  if (!content->is_array()) return fields.refuse("content", "must be a string or an array of parts");
  return read_parts(fields, message["content"]);
}

Result<json> read_messages(const json& body) {
  const Fields fields(body);
  const json* const given = fields.find("messages");
  if (given == nullptr || !given->is_array() || given->empty())
    return fields.refuse("messages", "must be an array with at least one message");
  json out = *given;
  for (std::size_t i = 0; i < out.size(); ++i) {
    const std::string path = fmt::format("messages[{}]", i);
    if (!out[i].is_object()) return fields.refuse(path.c_str(), "must be an object");
    BRIMFUL_TRY_VOID(read_message(out[i], path));
  }
  return out;
}

/// Whether the answer continues the last message. It does when that message is the assistant's, unless the
/// request says otherwise.
Result<bool> read_continuation(const json& body, const json& messages) {
  const Fields fields(body);
  BRIMFUL_TRY(const auto wanted, fields.boolean("continue_final_message"));
  BRIMFUL_TRY(const auto new_turn, fields.boolean("add_generation_prompt"));
  const bool assistant_is_last = messages.back()["role"] == "assistant";
  if (wanted.value_or(false) && !assistant_is_last)
    return fields.refuse("continue_final_message", "the last message is not the assistant's");
  if (wanted.value_or(false) && new_turn.value_or(false))
    return fields.refuse("continue_final_message", "cannot be true together with add_generation_prompt");
  if (!assistant_is_last || !wanted.value_or(true)) return false;
  if (messages.size() > 1 && messages[messages.size() - 2]["role"] == "assistant")
    return fields.refuse("messages", "end with two messages of the assistant: only one can be continued");
  if (messages.back().contains("tool_calls") && !messages.back()["tool_calls"].empty())
    return fields.refuse("messages", "end with tool calls: the tools' results must follow");
  return true;
}

Status check_tools(const Fields& fields, const json& tools) {
  if (!tools.is_array()) return fields.refuse("tools", "must be an array");
  for (std::size_t i = 0; i < tools.size(); ++i) {
    const std::string path = fmt::format("tools[{}]", i);
    if (!tools[i].is_object()) return fields.refuse(path.c_str(), "must be an object");
    const Fields tool(tools[i], path + ".");
    BRIMFUL_TRY(const auto type, tool.text("type"));
    if (type && *type != "function") return tool.refuse("type", "must be function");
    const json* const function = tool.find("function");
    if (function == nullptr || !function->is_object()) return tool.refuse("function", "must be an object");
    const Fields inner(*function, path + ".function.");
    BRIMFUL_TRY(const auto name, inner.text("name"));
    if (!name || name->empty()) return inner.refuse("name", "is missing");
    BRIMFUL_TRY_VOID(inner.text("description"));
    const json* const parameters = inner.find("parameters");
    if (parameters != nullptr && !parameters->is_object())
      return inner.refuse("parameters", "must be a JSON schema");
  }
  return {};
}

/// The name in `{"function": {"name": ...}}`; null for anything else.
json function_name(const json& value) {
  if (!value.is_object() || !value.contains("function") || !value["function"].is_object()) return {};
  return value["function"].value("name", json());
}

/// Reads `tools`, `tool_choice` and `parallel_tool_calls`.
Status read_tools(const json& body, chat::ChatRequest& out) {
  const Fields fields(body);
  if (const json* const tools = fields.find("tools")) {
    BRIMFUL_TRY_VOID(check_tools(fields, *tools));
    if (!tools->empty()) out.tools = *tools;
    for (json& tool : out.tools) tool["type"] = "function";
  }
  BRIMFUL_TRY(out.parallel_tool_calls, fields.boolean("parallel_tool_calls"));
  const json* const choice = fields.find("tool_choice");
  if (choice == nullptr || *choice == "auto") return {};
  if (*choice == "none" || *choice == "required") {
    out.tool_choice = *choice == "none" ? chat::ToolChoice::kNone : chat::ToolChoice::kRequired;
    if (*choice == "required" && out.tools.empty())
      return fields.refuse("tool_choice", "needs tools, and the request has none");
    return {};
  }
  // OpenAI's `allowed_tools`: the model chooses among some of the tools.
  const json* const allowed = choice->is_object() ? Fields(*choice).find("allowed_tools") : nullptr;
  json names = json::array();
  if (allowed != nullptr && allowed->is_object()) {
    const Fields some(*allowed, "tool_choice.allowed_tools.");
    BRIMFUL_TRY(const auto mode, some.text("mode"));
    if (mode && *mode != "auto" && *mode != "required")
      return some.refuse("mode", "must be auto or required");
    if (mode == "required") out.tool_choice = chat::ToolChoice::kRequired;
    const json* const tools = some.find("tools");
    if (tools == nullptr || !tools->is_array()) return some.refuse("tools", "must be an array");
    for (const json& tool : *tools) names.push_back(function_name(tool));
  } else {
    const json name = function_name(*choice);
    if (!name.is_string())
      return fields.refuse("tool_choice",
                           "must be none, auto, required, or an object with the name of a function");
    out.tool_choice = chat::ToolChoice::kRequired;  // the named function must be called
    names.push_back(name);
  }
  json named = json::array();  // the model can call no other tools
  for (const json& tool : out.tools) {
    if (std::ranges::find(names, function_name(tool)) != names.end()) named.push_back(tool);
  }
  if (named.empty()) return fields.refuse("tool_choice", "names none of the tools");
  out.tools = std::move(named);
  return {};
}

/// Reads `chat_template_kwargs`, and the fields for thinking of OpenAI's API and llama-server.
Status read_thinking(const json& body, chat::ChatRequest& out) {
  const Fields fields(body);
  if (const json* const arguments = fields.find("chat_template_kwargs")) {
    if (!arguments->is_object()) return fields.refuse("chat_template_kwargs", "must be an object");
    BRIMFUL_TRY(const auto thinks, Fields(*arguments, "chat_template_kwargs.").boolean("enable_thinking"));
    out.enable_thinking = thinks.value_or(true);
    for (const auto& [name, value] : arguments->items()) out.template_arguments[name] = value;
  }
  BRIMFUL_TRY(const auto effort, fields.text("reasoning_effort"));
  if (effort == "none") {
    out.enable_thinking = false;
    out.template_arguments.erase("reasoning_effort");
  } else if (effort && !effort->empty()) {
    out.template_arguments["reasoning_effort"] = *effort;
  }
  BRIMFUL_TRY(const auto format, fields.text("reasoning_format"));
  if (format && *format != "none" && *format != "auto" && *format != "deepseek")
    return fields.refuse("reasoning_format", "must be none, auto or deepseek");
  out.thoughts_apart = format != "none";
  BRIMFUL_TRY(auto tokens, fields.integer("reasoning_budget_tokens", -1, INT32_MAX));
  if (!tokens) {
    BRIMFUL_TRY(tokens, fields.integer("thinking_budget_tokens", -1, INT32_MAX));
  }
  if (tokens && *tokens >= 0) out.thinking_tokens = static_cast<int>(*tokens);
  return {};
}

}  // namespace

Status read_conversation(const json& body, chat::ChatRequest& out) {
  BRIMFUL_TRY(out.messages, read_messages(body));
  BRIMFUL_TRY(out.continues, read_continuation(body, out.messages));
  BRIMFUL_TRY_VOID(read_tools(body, out));
  return read_thinking(body, out);
}

}  // namespace brimful::openai
