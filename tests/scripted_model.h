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

/// A model that writes one text to any prompt: at a temperature near 0, each token of the script follows the
/// token before it. The model has no attention. Its vocabulary has a token for each byte, a space, the ends
/// of a text, and the tokens below.
struct Script {
  /// The tokens that it writes, in order. Each may occur once. The text ends after them.
  std::vector<std::string> tokens;
  /// The tokens that it writes instead when the prompt ends with the control token `after`.
  struct Other {
    std::string after;
    std::vector<std::string> tokens;
  };
  std::vector<Other> others;
  std::vector<std::string> control;  ///< The texts of control tokens. Some of them may be in `tokens`, too.
  std::vector<std::string> more;     ///< Further tokens, which it does not write.
  std::string chat_template;         ///< The chat template in Jinja; empty: none.
  std::uint32_t trained_context = 512;  ///< The context that it claims to be trained with, in tokens.
  std::string name = "script";
  bool byte_pairs = false;  ///< Whether the vocabulary is one like GPT-2's, instead of SentencePiece.
  bool splits_said = true;  ///< Whether the file has the key tokenizer.ggml.pre.
};

/// Writes a scripted model as GGUF. Returns the path of the file, which the caller removes.
std::filesystem::path write_scripted_model(const std::filesystem::path& folder, const Script& script);

}  // namespace brimful::tests
