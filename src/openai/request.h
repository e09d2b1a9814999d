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

/// The endpoint of `/v1/chat/completions`, `/v1/completions` or `/v1/embeddings`; nothing for any other URL.
[[nodiscard]] std::optional<Endpoint> endpoint_of(std::string_view url);
/// The `object` field of an answer in OpenAI's API, for example `chat.completion`.
[[nodiscard]] std::string_view object_name(Endpoint endpoint);

/// A request of OpenAI's API, read and checked.
struct ApiRequest {
  Endpoint endpoint = Endpoint::kChat;
  schedule::Request request;
  /// For a completion: the prompts after the first one, which is in `request`.
  std::vector<std::vector<llama_token>> more_prompts;
  /// Number of answers to each prompt.
  std::uint32_t answers = 1;
  /// Parts of the request that are not obeyed: one sentence for each, beginning with the field's name.
  std::vector<std::string> warnings;
  /// For a chat: reads the texts of the answers.
  chat::ChatParser parser;
  bool stream = false;
  bool stream_usage = false;

  /// For embeddings, these fields are set and `request` is not.
  struct {
    std::vector<std::vector<llama_token>> inputs;
    /// How many of the first numbers of each vector are returned; 0: all of them.
    std::size_t dimensions = 0;
    /// True: a vector is returned as base64 of its float32 numbers, little-endian.
    bool base64 = false;
  } embeddings;

  /// The requests for the scheduler. For texts: all answers to the first prompt, then all answers to the next
  /// one. For embeddings: one request for each input.
  [[nodiscard]] std::vector<schedule::Request> parts() const;
  [[nodiscard]] std::size_t part_count() const;
  /// Number of tokens of all prompts and inputs together.
  [[nodiscard]] std::size_t prompt_tokens() const;
  /// Number of tokens of the longest prompt or input.
  [[nodiscard]] std::size_t longest_prompt() const;
};

/// Reads request bodies of OpenAI's API for one model, with the model's chat template. Thread-safe.
class ApiReader {
 public:
  /// `engine` outlives the reader. `chat_template` is used instead of the model's own template; empty: the
  /// model's own. Errors: kUnsupported when the chat template cannot be read.
  [[nodiscard]] static Result<ApiReader> create(const engine::Engine& engine,
                                                const std::string& chat_template = "");

  /// Reads and checks a body, and tokenizes its prompts. Fields that would change the answer but are not
  /// supported are named in ApiRequest::warnings. Errors: kInvalidArgument; the message begins with the
  /// field's name.
  [[nodiscard]] Result<ApiRequest> read(Endpoint endpoint, const nlohmann::ordered_json& body) const;

  /// Tokenizes a body `{"content": TEXT}`, with llama-server's fields `add_special` and `parse_special`.
  /// Errors: kInvalidArgument.
  [[nodiscard]] Result<std::vector<llama_token>> tokenize(const nlohmann::ordered_json& body) const;

  /// Checks whether an answer can begin under the request's grammar. The scheduler finds that out as well; a
  /// server checks it first, on a thread of its own, so that a slow grammar keeps no other request waiting.
  /// Blocks: up to some seconds. Errors: kInvalidArgument; the message begins with the field's name.
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
