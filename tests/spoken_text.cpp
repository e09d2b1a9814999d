#include "spoken_text.h"

#include <algorithm>
#include <string_view>

namespace strata::tests {
namespace {

using What = Spoken::What;

common_chat_msg answer(Spoken spoken) {
  common_chat_msg out;
  out.role = "assistant";
  if (spoken.what != What::kCall) out.content = spoken.what == What::kJson ? kSpokenJson : kSpokenContent;
  if (spoken.thinks) out.reasoning_content = kSpokenThoughts;
  if (spoken.what == What::kCall) out.tool_calls = {{kSpokenTool, kSpokenArguments, "123456789"}};
  return out;
}

/// The question, and the answer where there is one.
std::string conversation(const common_chat_templates* templates, std::optional<Spoken> spoken, bool with_tool,
                         bool add_generation_prompt) {
  common_chat_templates_inputs inputs = spoken_question(with_tool);
  if (spoken) inputs.messages.push_back(answer(*spoken));
  inputs.add_generation_prompt = add_generation_prompt;
  return common_chat_templates_apply(templates, inputs).prompt;
}

/// The whole conversation, with an answer, behind the prompt that asks for it. Nothing where the template does
/// not write the two alike.
std::optional<std::string> behind_prompt(const common_chat_templates* templates, Spoken spoken,
                                         bool with_tool) {
  const std::string prompt = conversation(templates, std::nullopt, with_tool, true);
  const std::string all = conversation(templates, spoken, with_tool, false);
  if (!all.starts_with(prompt)) return std::nullopt;
  return all.substr(prompt.size());
}

/// What the template writes behind a plain answer.
std::optional<std::string> end_of_turn(const common_chat_templates* templates, bool with_tool) {
  const std::string all = conversation(templates, Spoken{}, with_tool, false);
  const std::size_t at = all.rfind(kSpokenContent);
  if (at == std::string::npos) return std::nullopt;
  return all.substr(at + std::string_view(kSpokenContent).size());
}

std::string without_end(std::string text, const std::string& end) {
  if (text.ends_with(end)) text.resize(text.size() - end.size());
  return text;
}

bool has_parts(const std::string& text, Spoken spoken) {
  const auto has = [&](const char* part) { return text.find(part) != std::string::npos; };
  if (spoken.thinks && !has(kSpokenThoughts)) return false;
  switch (spoken.what) {
    case What::kContent: return has(kSpokenContent);
    case What::kJson: return has(kSpokenJson);
    case What::kCall: return has(kSpokenTool) && has("moon");
  }
  return false;
}

std::string_view trimmed(std::string_view text) {
  const auto is_space = [](char c) { return c == ' ' || c == '\n'; };
  while (!text.empty() && is_space(text.front())) text.remove_prefix(1);
  while (!text.empty() && is_space(text.back())) text.remove_suffix(1);
  return text;
}

/// An answer as the template writes it into a history, from where it differs from what ends the prompt. What
/// ends the prompt is left over where the template, as those of DeepSeek, lets thoughts begin there and leaves
/// them out of a history.
struct BehindTurn {
  std::string text;
  std::string left_over;  // of the prompt
};

std::optional<BehindTurn> behind_turn(const common_chat_templates* templates, Spoken spoken, bool with_tool) {
  const std::string prompt = conversation(templates, std::nullopt, with_tool, true);
  const std::string question = conversation(templates, std::nullopt, with_tool, false);
  const std::string all = conversation(templates, spoken, with_tool, false);
  const auto common = std::ranges::mismatch(prompt, all);
  const auto size = static_cast<std::size_t>(common.in1 - prompt.begin());
  if (size < question.size()) return std::nullopt;
  return BehindTurn{.text = all.substr(size), .left_over = prompt.substr(size)};
}

}  // namespace

common_chat_templates_inputs spoken_question(bool with_tool) {
  common_chat_templates_inputs out;
  common_chat_msg user;
  user.role = "user";
  user.content = kQuestion;
  out.messages = {user};
  out.reasoning_format = COMMON_REASONING_FORMAT_DEEPSEEK;
  if (with_tool) out.tools = {{kSpokenTool, "Looks.", kToolParameters}};
  return out;
}

std::optional<std::string> rendered_text(const common_chat_templates* templates, Spoken spoken) {
  const bool with_tool = spoken.what == What::kCall;
  const auto text = behind_prompt(templates, spoken, with_tool);
  const auto end = end_of_turn(templates, with_tool);
  if (!text || !end) return std::nullopt;
  return without_end(*text, *end);
}

std::optional<SpokenText> spoken_text(const common_chat_templates* templates, Spoken spoken) {
  const bool with_tool = spoken.what == What::kCall;
  if (auto text = rendered_text(templates, spoken); text && has_parts(*text, spoken))
    return SpokenText{.text = std::move(*text)};

  const auto end = end_of_turn(templates, with_tool);
  const common_chat_params chat = common_chat_templates_apply(templates, spoken_question(with_tool));
  const auto behind = behind_turn(templates, {.what = spoken.what}, with_tool);
  if (!end || !behind) return std::nullopt;
  const std::string rest = without_end(behind->text, *end);
  if (!has_parts(rest, {.what = spoken.what})) return std::nullopt;
  const bool has_tags = !chat.thinking_start_tag.empty() && !chat.thinking_end_tags.empty();
  const std::string_view begun = trimmed(behind->left_over);
  const bool thinks_already = has_tags && begun == trimmed(chat.thinking_start_tag);
  if (!begun.empty() && !thinks_already) return std::nullopt;
  if (!spoken.thinks)
    return SpokenText{.text = (thinks_already ? chat.thinking_end_tags.front() : "") + rest,
                      .is_rendered = false};
  if (!has_tags) return std::nullopt;
  return SpokenText{.text = (thinks_already ? "" : chat.thinking_start_tag) + kSpokenThoughts +
                            chat.thinking_end_tags.front() + rest,
                    .is_rendered = false};
}

}  // namespace strata::tests
