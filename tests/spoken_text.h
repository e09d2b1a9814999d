#pragma once

#include <chat.h>

#include <optional>
#include <string>

namespace brimful::tests {

/// What an answer to "Where is it?" consists of: a text, JSON by a schema, or a call of the tool `look`;
/// thoughts may go before each.
struct Spoken {
  enum class What { kContent, kJson, kCall };
  What what = What::kContent;
  bool thinks = false;
};

/// The parts of such an answer.
inline constexpr const char* kQuestion = "Where is it?";
inline constexpr const char* kSpokenContent = "It is there.";
inline constexpr const char* kSpokenJson = R"({"place": "sky"})";
inline constexpr const char* kSpokenThoughts = "I think.";
inline constexpr const char* kSpokenTool = "look";
inline constexpr const char* kSpokenArguments = R"({"at": "moon"})";
inline constexpr const char* kToolParameters =
    R"({"type": "object", "properties": {"at": {"type": "string"}}, "required": ["at"]})";

/// The question, with or without the tool.
[[nodiscard]] common_chat_templates_inputs spoken_question(bool with_tool);

/// A text that a model of a template writes.
struct SpokenText {
  std::string text;
  bool is_rendered = true;  ///< false: the template does not render it; it is made of the template's tags.
};

/// What a model of this template writes where it gives such an answer: what the template renders of the
/// answer behind the prompt that asks for it, without the end of the turn. Nothing where the template renders
/// no such answer. Throws what the template throws.
[[nodiscard]] std::optional<std::string> rendered_text(const common_chat_templates* templates, Spoken spoken);

/// As rendered_text(), and where that has nothing: thoughts between the template's tags for them, and behind
/// them what it renders of the answer without thoughts, or the plain text. Nothing where the template knows
/// no thoughts, or writes no calls of tools.
[[nodiscard]] std::optional<SpokenText> spoken_text(const common_chat_templates* templates, Spoken spoken);

}  // namespace brimful::tests
