#pragma once

#include <memory>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <string_view>

#include "chat/chat_format.h"
#include "openai/sampling.h"
#include "schedule/request.h"

namespace brimful::openai {

/// Of `/v1/chat/completions`, `/v1/completions` and `/v1/embeddings`.
[[nodiscard]] std::optional<Endpoint> endpoint_of(std::string_view url);
/// What answers are called, as OpenAI's API does: `chat.completion`.
[[nodiscard]] std::string_view object_name(Endpoint endpoint);

/// A request of OpenAI's API.
struct ApiRequest {
  Endpoint endpoint = Endpoint::kChat;
  schedule::Request request;
  std::vector<std::vector<llama_token>> more_prompts;  ///< of a completion, behind that of `request`
  std::uint32_t answers = 1;                           ///< to each prompt
  std::vector<std::string> warnings;                   ///< What of the request is not obeyed, field by field.
  chat::ChatParser parser;                             ///< Of a chat's answer.
  bool stream = false;
  bool stream_usage = false;

  /// Of embeddings, instead of `request`.
  struct {
    std::vector<std::vector<llama_token>> inputs;
    std::size_t dimensions = 0;  ///< the first ones; 0: all
    bool base64 = false;         ///< of their bytes, little-endian
  } embeddings;

  /// What the scheduler has to do: of each prompt all answers, one after the other, or each input.
  [[nodiscard]] std::vector<schedule::Request> parts() const;
  [[nodiscard]] std::size_t part_count() const;
  [[nodiscard]] std::size_t prompt_tokens() const;
  [[nodiscard]] std::size_t longest_prompt() const;
};

/// Reads bodies of OpenAI's API for one model, by its own chat template. Threading: any.
class ApiReader {
 public:
  /// `engine` outlives it. `chat_template`: instead of the model's own; empty: that one. Errors: kUnsupported
  /// for a chat template that cannot be read.
  [[nodiscard]] static Result<ApiReader> create(const engine::Engine& engine,
                                                const std::string& chat_template = "");

  /// Fields that would change an answer and are not understood end in ApiRequest::warnings. Errors:
  /// kInvalidArgument, beginning with the field's name.
  [[nodiscard]] Result<ApiRequest> read(Endpoint endpoint, const nlohmann::ordered_json& body) const;

  /// `{"content": TEXT}`, with llama-server's `add_special` and `parse_special`. Errors: kInvalidArgument.
  [[nodiscard]] Result<std::vector<llama_token>> tokenize(const nlohmann::ordered_json& body) const;

  /// Whether an answer can begin under the request's grammar. The scheduler finds that out, too; a server
  /// asks before, on a thread of its own, so that nobody waits for a grammar that takes long. Blocks: up to
  /// some seconds. Errors: kInvalidArgument, beginning with the field's name.
  [[nodiscard]] Status check_grammar(const ApiRequest& request) const;

  [[nodiscard]] const llama_vocab* vocab() const { return engine_.vocab(); }

 private:
  ApiReader(const engine::Engine& engine, chat::ChatFormat format)
      : engine_(engine), format_(std::move(format)) {}
  [[nodiscard]] Status read_chat(const nlohmann::ordered_json& body, ApiRequest& out) const;
  [[nodiscard]] Status read_completion(const nlohmann::ordered_json& body, ApiRequest& out) const;
  [[nodiscard]] Status read_embeddings(const nlohmann::ordered_json& body, ApiRequest& out) const;
  [[nodiscard]] Status read_delivery(const nlohmann::ordered_json& body, ApiRequest& out) const;
  [[nodiscard]] Result<std::vector<llama_token>> tokenize(const std::string& text, const char* field,
                                                          bool special = true, bool parse = true) const;

  [[nodiscard]] Result<std::vector<llama_token>> tokens_of(const nlohmann::ordered_json& text,
                                                           const char* field, std::size_t i) const;

  const engine::Engine& engine_;
  chat::ChatFormat format_;
};

}  // namespace brimful::openai
