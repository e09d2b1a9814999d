#include "spoken_text.h"

#include <algorithm>
#include <string_view>

namespace brimful::tests {
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

/// Returns the messages: the question, and the answer if there is one.
std::string conversation(const common_chat_templates* templates, std::optional<Spoken> spoken, bool with_tool,
                         bool add_generation_prompt) {
  common_chat_templates_inputs inputs = spoken_question(with_tool);
  if (spoken) inputs.messages.push_back(answer(*spoken));
  inputs.add_generation_prompt = add_generation_prompt;
  return common_chat_templates_apply(templates, inputs).prompt;
}

/// Renders the whole conversation with an answer, and returns the part after the prompt. Nullopt when the
/// template does not begin both alike.
std::optional<std::string> behind_prompt(const common_chat_templates* templates, Spoken spoken,
                                         bool with_tool) {
  const std::string prompt = conversation(templates, std::nullopt, with_tool, true);
  const std::string all = conversation(templates, spoken, with_tool, false);
  if (!all.starts_with(prompt)) return std::nullopt;
  return all.substr(prompt.size());
}

/// Returns the text that the template writes after a plain answer.
std::optional<std::string> end_of_turn(const common_chat_templates* templates, bool with_tool) {
  const std::string all = conversation(templates, Spoken{}, with_tool, false);
  const std::size_t at = all.rfind(kSpokenContent);
  if (at == std::string::npos) return std::nullopt;
  return all.substr(at + std::string_view(kSpokenContent).size());
}

constexpr std::string_view kSpace = " \n";

std::string_view without_space_in_front(std::string_view text) {
  return text.substr(std::min(text.find_first_not_of(kSpace), text.size()));
}
std::string_view trimmed(std::string_view text) {
  text = without_space_in_front(text);
  return text.substr(0, text.find_last_not_of(kSpace) + 1);
}

/// Cuts the text at the end of the turn. When a call ends in another way than a text, only a part of `end`
/// is searched, from one of its marks on.
std::string without_end(std::string text, const std::string& end, What what) {
  const char* const part = what == What::kCall ? "moon" : what == What::kJson ? kSpokenJson : kSpokenContent;
  const std::size_t at_part = text.rfind(part);
  const std::size_t whole = trimmed(end).empty() || at_part == std::string::npos
                                ? std::string::npos
                                : text.find(trimmed(end), at_part + std::string_view(part).size());
  if (whole != std::string::npos) return text.substr(0, whole);
  for (std::size_t at = 0; at < end.size(); at = end.find('<', at + 1)) {
    const std::string_view rest = std::string_view(end).substr(at);
    if (!text.ends_with(rest)) continue;
    text.resize(text.size() - rest.size());
    break;
  }
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

/// The tags with which a template marks thoughts.
struct ThoughtTags {
  std::string begin;  ///< Empty: the prompt itself begins them.
  std::string end;
  bool begin_in_prompt = false;  ///< The prompt ends with `begin`.

  explicit ThoughtTags(const common_chat_params& chat)
      : begin(chat.thinking_start_tag),
        end(chat.thinking_end_tags.empty() ? "" : chat.thinking_end_tags.front()),
        begin_in_prompt(exist() && trimmed(chat.prompt).ends_with(trimmed(begin))) {}
  [[nodiscard]] bool exist() const { return !end.empty(); }
};

/// Returns the part that the template renders for an answer without thoughts, after the prompt and without
/// the tags of thoughts.
std::optional<std::string> without_thoughts(const common_chat_templates* templates, Spoken spoken,
                                            const ThoughtTags& tags, std::string_view prompt) {
  const bool with_tool = spoken.what == What::kCall;
  const std::string all = conversation(templates, {{.what = spoken.what}}, with_tool, false);
  const auto end = end_of_turn(templates, with_tool);
  if (tags.begin_in_prompt) prompt = prompt.substr(0, prompt.rfind(trimmed(tags.begin)));
  if (!end || !all.starts_with(prompt)) return std::nullopt;
  const std::string rest = without_end(all.substr(prompt.size()), *end, spoken.what);
  std::string_view out = rest;
  for (const std::string& tag : {tags.begin, tags.end}) {
    const std::string_view text = without_space_in_front(out);
    if (!trimmed(tag).empty() && text.starts_with(trimmed(tag))) out = text.substr(trimmed(tag).size());
  }
  if (!has_parts(rest, {.what = spoken.what})) return std::nullopt;
  return std::string(out);
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
  return without_end(*text, *end, spoken.what);
}

std::optional<SpokenText> spoken_text(const common_chat_templates* templates, Spoken spoken) {
  const bool with_tool = spoken.what == What::kCall;
  if (auto text = rendered_text(templates, spoken); text && has_parts(*text, spoken))
    return SpokenText{.text = std::move(*text)};

  const common_chat_params chat = common_chat_templates_apply(templates, spoken_question(with_tool));
  const ThoughtTags tags(chat);
  const auto rest = without_thoughts(templates, spoken, tags, chat.prompt);
  const bool can_think = tags.exist() && !trimmed(chat.prompt).ends_with(trimmed(tags.end));
  if (spoken.thinks && !can_think) return std::nullopt;
  if (!rest && with_tool) return std::nullopt;
  SpokenText out{.text = rest.value_or(spoken.what == What::kJson ? kSpokenJson : kSpokenContent),
                 .is_rendered = false};
  if (spoken.thinks) out.text = kSpokenThoughts + tags.end + out.text;
  if (spoken.thinks && !tags.begin_in_prompt) out.text = tags.begin + out.text;
  if (!spoken.thinks && tags.begin_in_prompt) out.text = tags.end + out.text;
  return out;
}

}  // namespace brimful::tests
