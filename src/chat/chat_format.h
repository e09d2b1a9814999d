#pragma once

#include <common.h>

#include <map>
#include <memory>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <vector>

#include "base/result.h"
#include "chat/chat_parser.h"
#include "engine/engine.h"

namespace brimful::chat {

enum class ToolChoice { kAuto, kRequired, kNone };

/// What a chat asks for. JSON is as OpenAI's API has it.
struct ChatRequest {
  nlohmann::ordered_json messages;  ///< An array of one message at least.
  nlohmann::ordered_json tools;     ///< An array; null: none.
  ToolChoice tool_choice = ToolChoice::kAuto;
  std::optional<bool>
      parallel_tool_calls;             ///< More than one call in an answer; unset: where the template can.
  bool enable_thinking = true;         ///< For templates that let their user choose.
  bool thoughts_apart = true;          ///< false: what the model thinks is content, marks included.
  std::optional<int> thinking_tokens;  ///< After so many, thoughts are ended; unset: no limit.
  bool continues = false;              ///< The last message is the assistant's: the answer goes on with it.
  std::map<std::string, nlohmann::ordered_json>
      template_arguments;                             ///< More variables of the template, by name.
  std::optional<nlohmann::ordered_json> json_schema;  ///< The answer's content must follow it.
  common_grammar grammar;  ///< The answer must follow it: of that schema, or the user's own; empty: none.
};

/// What a chat template makes of a ChatRequest.
struct ChatPrompt {
  std::vector<llama_token> tokens;
  std::vector<std::string> stops;     ///< Texts that end the answer, beside the model's own end of text.
  common_params_sampling rules;       ///< Only what constrains the answer is set: see constrain().
  ChatParser parser;                  ///< Of the answer.
  std::vector<std::string> warnings;  ///< What the answer may lack; each begins with a field's name.

  /// Lets `sampling` follow the rules of the answer: grammar, triggers, tokens that are shown as text.
  void constrain(common_params_sampling& sampling) const;
};

/// A model's chat template: writes prompts, and tells how their answers are to be read. The only place that
/// knows llama-common's templates. Threading: any.
class ChatFormat {
 public:
  /// `engine` outlives it. `chat_template`: Jinja, instead of the model's own; empty: that one. Errors:
  /// kUnsupported for a template that cannot be read.
  [[nodiscard]] static Result<ChatFormat> create(const engine::Engine& engine,
                                                 const std::string& chat_template = "");
  ChatFormat(ChatFormat&&) noexcept;
  ~ChatFormat();

  /// Errors: kInvalidArgument, and kUnsupported where the template does not take the chat; the message begins
  /// with the field that is wrong, as OpenAI's API names it: `messages`, `tools`, `tool_choice`,
  /// `response_format`, `chat_template_kwargs`.
  [[nodiscard]] Result<ChatPrompt> apply(const ChatRequest& request) const;

 private:
  struct Templates;
  ChatFormat(const engine::Engine& engine, std::unique_ptr<Templates> templates);

  const engine::Engine& engine_;
  std::unique_ptr<Templates> templates_;
};

/// A sentence for people where a prompt begins with two tokens for the beginning of a text: one that it has
/// itself, and one that the model's vocabulary adds.
[[nodiscard]] std::optional<std::string> two_beginnings(const llama_vocab* vocab,
                                                        const std::vector<llama_token>& prompt);

}  // namespace brimful::chat
