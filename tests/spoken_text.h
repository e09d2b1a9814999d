#pragma once

#include <chat.h>

#include <optional>
#include <string>

namespace brimful::tests {

/// The kind of an answer to "Where is it?": a text, JSON by a schema, or a call of the tool `look`. Thoughts
/// may come before it.
struct Spoken {
  enum class What { kContent, kJson, kCall };
  What what = What::kContent;
  bool thinks = false;
};

// The question, and the parts of an answer.
inline constexpr const char* kQuestion = "Where is it?";
inline constexpr const char* kSpokenContent = "It is there.";
inline constexpr const char* kSpokenJson = R"({"place": "sky"})";
inline constexpr const char* kSpokenThoughts = "I think.";
inline constexpr const char* kSpokenTool = "look";
inline constexpr const char* kSpokenArguments = R"({"at": "moon"})";
inline constexpr const char* kToolParameters =
    R"({"type": "object", "properties": {"at": {"type": "string"}}, "required": ["at"]})";

/// The inputs for a chat template: the question, with or without the tool.
[[nodiscard]] common_chat_templates_inputs spoken_question(bool with_tool);

/// A text that a model with a certain chat template writes.
struct SpokenText {
  std::string text;
  /// Whether the template renders this text. If not, it is put together from the template's tags.
  bool is_rendered = true;
};

/// Returns the text that a model with this template writes for an answer: the part that the template renders
/// for the answer after the prompt, without the end of the turn. Nullopt when the template does not render
/// such an answer. Throws the exceptions of the template.
[[nodiscard]] std::optional<std::string> rendered_text(const common_chat_templates* templates, Spoken spoken);

/// Returns rendered_text(). When that is nullopt, the text is put together: the thoughts between the
/// template's tags for them, and then the rendered answer without thoughts, or the plain text. Nullopt when
/// the template has no thoughts, or writes no calls of tools.
[[nodiscard]] std::optional<SpokenText> spoken_text(const common_chat_templates* templates, Spoken spoken);

}  // namespace brimful::tests
