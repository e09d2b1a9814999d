#pragma once

#include <chat.h>

#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <string_view>

#include "batch/request.h"

namespace strata::batch {

enum class Endpoint { kChat, kCompletion };

/// Of `/v1/chat/completions` and `/v1/completions`.
[[nodiscard]] std::optional<Endpoint> endpoint_of(std::string_view url);
/// What answers are called, as OpenAI's API does: `chat.completion`.
[[nodiscard]] std::string_view object_name(Endpoint endpoint);

/// A request of OpenAI's API.
struct ApiRequest {
  Endpoint endpoint = Endpoint::kChat;
  Request request;
  common_chat_parser_params parser;  ///< of a chat's answer: tool calls, reasoning
  bool stream = false;
  bool stream_usage = false;
};

/// Reads bodies of OpenAI's API for one model, by its own chat template. Threading: one thread at a time.
class ApiReader {
 public:
  /// `engine` outlives it. `chat_template`: instead of the model's own; empty: that one. Errors: kUnsupported
  /// for a chat template that cannot be read.
  [[nodiscard]] static Result<ApiReader> create(const engine::Engine& engine,
                                                const std::string& chat_template = "");

  /// Fields that change nothing here are not looked at, as OpenAI's API does. Errors: kInvalidArgument,
  /// beginning with the field's name.
  [[nodiscard]] Result<ApiRequest> read(Endpoint endpoint, const nlohmann::json& body) const;

  /// `{"content": TEXT}`, with llama-server's `add_special` and `parse_special`. Errors: kInvalidArgument.
  [[nodiscard]] Result<std::vector<llama_token>> tokenize(const nlohmann::json& body) const;

  [[nodiscard]] const llama_vocab* vocab() const { return engine_.vocab(); }

 private:
  explicit ApiReader(const engine::Engine& engine) : engine_(engine) {}
  [[nodiscard]] Status read_chat(const nlohmann::json& body, ApiRequest& out) const;
  [[nodiscard]] Status read_completion(const nlohmann::json& body, ApiRequest& out) const;
  [[nodiscard]] Status read_sampling(const nlohmann::json& body, ApiRequest& out) const;
  [[nodiscard]] Result<std::vector<llama_token>> tokenize(const std::string& text, const char* field,
                                                          bool special = true, bool parse = true) const;

  const engine::Engine& engine_;
  common_chat_templates_ptr templates_;
};

}  // namespace strata::batch
