#pragma once

#include <filesystem>
#include <string>
#include <vector>

namespace brimful::tests {

/// A chat template that knows tools, thoughts and `reasoning_effort`, as those of Qwen and Hermes do.
inline constexpr const char* kChatMl = R"({%- if tools %}{{- '<|im_start|>system\n<tools>' }}
{%- for tool in tools %}{{- '\n' }}{{- tool | tojson }}{%- endfor %}{{- '\n</tools><|im_end|>\n' }}{%- endif %}
{%- for message in messages %}
{{- '<|im_start|>' + message.role + '\n' }}
{%- if message.reasoning_content %}{{- '<think>\n' + message.reasoning_content + '\n</think>\n\n' }}{%- endif %}
{%- if message.content %}{{- message.content }}{%- endif %}
{%- for call in message.tool_calls or [] %}
{{- '\n<tool_call>\n{"name": "' + call.function.name + '", "arguments": ' }}{{- call.function.arguments | tojson }}{{- '}\n</tool_call>' }}
{%- endfor %}
{{- '<|im_end|>\n' }}
{%- endfor %}
{%- if reasoning_effort is defined %}{{- 'effort ' + reasoning_effort }}{%- endif %}
{%- if add_generation_prompt %}{{- '<|im_start|>assistant\n' }}{%- endif %})";

/// A model that says one text, whatever it is asked: each token of the script follows the one before, at any
/// temperature near 0. It has no attention, tokens for each byte, a space and the ends of a text, and those
/// below.
struct Script {
  std::vector<std::string> tokens;  ///< What it says, in order; each once. Then its text ends.
  /// It says these tokens instead where the prompt ends with the control token `after`.
  struct Other {
    std::string after;
    std::vector<std::string> tokens;
  };
  std::vector<Other> others;
  std::vector<std::string> control;     ///< Texts of control tokens; those in `tokens` may be among them.
  std::vector<std::string> more;        ///< Tokens that it does not say.
  std::string chat_template;            ///< Jinja; empty: none.
  std::uint32_t trained_context = 512;  ///< Tokens.
  std::string name = "script";
  bool byte_pairs = false;  ///< A vocabulary as GPT-2 has it, instead of SentencePiece's.
  bool splits_said = true;  ///< tokenizer.ggml.pre is there.
};

/// Writes such a model as GGUF. The file is there until the caller removes it.
std::filesystem::path write_scripted_model(const std::filesystem::path& folder, const Script& script);

}  // namespace brimful::tests
