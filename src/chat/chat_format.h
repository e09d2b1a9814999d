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

/// A request for the next message of a chat. All JSON has the form of OpenAI's API.
struct ChatRequest {
  /// An array of at least one message.
  nlohmann::ordered_json messages;
  /// An array of tools; null: there are none.
  nlohmann::ordered_json tools;
  ToolChoice tool_choice = ToolChoice::kAuto;
  /// Whether an answer may have more than one call of a tool; unset: if the template supports it.
  std::optional<bool> parallel_tool_calls;
  /// Whether the model thinks before it answers. It has an effect on templates that have this switch.
  bool enable_thinking = true;
  /// True: thoughts become ChatMessage::reasoning. False: they stay in the content, with their marks.
  bool thoughts_apart = true;
  /// The largest number of tokens of the model's thoughts; after that, they are ended. Unset: no limit.
  std::optional<int> thinking_tokens;
  /// True: the last message is the assistant's, and the answer continues it.
  bool continues = false;
  /// More variables for the template, by name.
  std::map<std::string, nlohmann::ordered_json> template_arguments;
  /// A JSON schema that the answer's content must follow; unset: none.
  std::optional<nlohmann::ordered_json> json_schema;
  /// A grammar that the answer must follow: the grammar of `json_schema`, or the user's own. Empty: none.
  common_grammar grammar;
};

/// The prompt that a chat template makes of a ChatRequest, and how to read the answer.
struct ChatPrompt {
  std::vector<llama_token> tokens;
  /// Strings that end the answer, in addition to the model's end-of-text tokens.
  std::vector<std::string> stops;
  /// Only the fields that constrain the answer are set; see constrain().
  common_params_sampling rules;
  /// Reads the text of the answer.
  ChatParser parser;
  /// Parts of the request that the template cannot do; each begins with a field's name.
  std::vector<std::string> warnings;

  /// Copies the rules of the answer into `sampling`: grammar, triggers, reasoning budget, and tokens that are
  /// shown as text.
  void constrain(common_params_sampling& sampling) const;
};

/// A model's chat template: it writes prompts, and makes parsers for the answers. Only this class knows
/// llama-common's templates. Thread-safe.
class ChatFormat {
 public:
  /// `engine` outlives it. `chat_template` is a Jinja template that replaces the model's own; empty: the
  /// model's own. Blocks: see read_chat_templates(). Errors: kUnsupported when the template cannot be read.
  [[nodiscard]] static Result<ChatFormat> create(const engine::Engine& engine,
                                                 const std::string& chat_template = "");
  ChatFormat(ChatFormat&&) noexcept;
  ~ChatFormat();

  /// Writes the prompt of a request. Errors: kInvalidArgument, or kUnsupported when the template refuses the
  /// chat. The message begins with the field that is wrong, as OpenAI's API names it: `messages`, `tools`,
  /// `tool_choice`, `response_format`, `chat_template_kwargs`.
  [[nodiscard]] Result<ChatPrompt> apply(const ChatRequest& request) const;

 private:
  struct Templates;
  ChatFormat(const engine::Engine& engine, std::unique_ptr<Templates> templates);

  const engine::Engine& engine_;
  std::unique_ptr<Templates> templates_;
};

/// A warning for a prompt that begins with two BOS tokens: one in the text of the prompt, and one that the
/// model's vocabulary adds. Nothing for any other prompt.
[[nodiscard]] std::optional<std::string> two_beginnings(const llama_vocab* vocab,
                                                        const std::vector<llama_token>& prompt);

}  // namespace brimful::chat
