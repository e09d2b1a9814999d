#include "openai/answer.h"

#include <common.h>

#include <base64.hpp>
#include <cmath>
#include <span>

#include "openai/fields.h"
#include "schedule/prompt_length.h"

namespace brimful::openai {
namespace {

using Json = nlohmann::ordered_json;

Json describe(const schedule::Logprob& logprob, const llama_vocab* vocab) {
  const std::string piece = common_token_to_piece(vocab, logprob.token, true);
  Json bytes = Json::array();
  for (const char byte : piece) bytes.push_back(static_cast<unsigned char>(byte));
  return {{"token", piece}, {"logprob", logprob.logprob}, {"bytes", bytes}};
}

Json chat_logprobs(std::span<const schedule::WrittenLogprobs> places, const llama_vocab* vocab) {
  Json content = Json::array();
  for (const schedule::WrittenLogprobs& place : places) {
    Json entry = describe(place.written, vocab);
    entry["top_logprobs"] = Json::array();
    for (const schedule::Logprob& top : place.top) entry["top_logprobs"].push_back(describe(top, vocab));
    content.push_back(std::move(entry));
  }
  return {{"content", std::move(content)}};
}

Json completion_logprobs(std::span<const schedule::WrittenLogprobs> places, const llama_vocab* vocab,
                         std::size_t& offset) {
  Json out = {{"tokens", Json::array()},
              {"token_logprobs", Json::array()},
              {"top_logprobs", Json::array()},
              {"text_offset", Json::array()}};
  for (const schedule::WrittenLogprobs& place : places) {
    const std::string piece = common_token_to_piece(vocab, place.written.token, true);
    out["tokens"].push_back(piece);
    out["token_logprobs"].push_back(place.written.logprob);
    Json top = Json::object();
    for (const schedule::Logprob& one : place.top)
      top[common_token_to_piece(vocab, one.token, true)] = one.logprob;
    out["top_logprobs"].push_back(std::move(top));
    out["text_offset"].push_back(offset);
    offset += piece.size();
  }
  return out;
}

Json message_json(const chat::ChatMessage& message) {
  Json out = {{"role", "assistant"}, {"content", message.content}};
  if (!message.reasoning.empty()) out["reasoning_content"] = message.reasoning;
  for (const chat::ToolCall& call : message.tool_calls) {
    out["tool_calls"].push_back({{"type", "function"},
                                 {"function", {{"name", call.name}, {"arguments", call.arguments}}},
                                 {"id", call.id}});
  }
  return out;
}

Json choice_of(const ApiRequest& request, const schedule::Answer& answer, std::size_t index,
               const llama_vocab* vocab) {
  Json choice = {{"index", index}};
  bool calls_tools = false;
  std::size_t offset = 0;
  if (request.endpoint == Endpoint::kChat) {
    const chat::ChatMessage message = request.parser.parse(answer.text);
    calls_tools = !message.tool_calls.empty();
    choice["message"] = message_json(message);
  } else {
    choice["text"] = answer.text;
  }
  choice["logprobs"] = logprobs_json(request.endpoint, answer.logprobs, vocab, offset);
  choice["finish_reason"] = finish_reason(answer.reason, calls_tools);
  return choice;
}

/// The first `dimensions` numbers of the vector, scaled so that their length is 1.
Json vector_json(std::span<const float> vector, const ApiRequest& request) {
  if (request.embeddings.dimensions > 0)
    vector = vector.first(std::min(vector.size(), request.embeddings.dimensions));
  double squares = 0;
  for (const float value : vector) squares += static_cast<double>(value) * value;
  const double scale = squares > 0 ? 1 / std::sqrt(squares) : 0;
  std::vector<float> out;
  for (const float value : vector) out.push_back(static_cast<float>(value * scale));
  if (!request.embeddings.base64) return out;
  return base64::encode(reinterpret_cast<const char*>(out.data()), out.size() * sizeof(float));
}

Json embeddings_body(const AnswerHead& head, const ApiRequest& request,
                     const std::vector<schedule::Answer>& answers) {
  Json data = Json::array();
  for (const schedule::Answer& answer : answers) {
    const std::span<const float> vector =
        answer.vectors.empty() ? std::span<const float>() : answer.vectors[0];
    data.push_back(
        {{"object", "embedding"}, {"index", data.size()}, {"embedding", vector_json(vector, request)}});
  }
  const std::size_t tokens = request.prompt_tokens();
  Json out = {{"object", object_name(request.endpoint)},
              {"data", std::move(data)},
              {"model", head.model},
              {"usage", {{"prompt_tokens", tokens}, {"total_tokens", tokens}}}};
  if (!head.fingerprint.empty()) out["system_fingerprint"] = head.fingerprint;
  return out;
}

bool is_the_requests_fault(ErrorCode code) {
  return code == ErrorCode::kInvalidArgument || code == ErrorCode::kNotFound ||
         code == ErrorCode::kUnsupported;
}

}  // namespace

Json logprobs_json(Endpoint endpoint, std::span<const schedule::WrittenLogprobs> places,
                   const llama_vocab* vocab, std::size_t& offset) {
  if (places.empty()) return nullptr;
  return endpoint == Endpoint::kChat ? chat_logprobs(places, vocab)
                                     : completion_logprobs(places, vocab, offset);
}

std::string finish_reason(engine::StopReason reason, bool calls_tools) {
  using engine::StopReason;
  if (reason == StopReason::kLimit || reason == StopReason::kContextFull) return "length";
  return calls_tools ? "tool_calls" : "stop";
}

Json usage_json(const ApiRequest& request, const std::vector<schedule::Answer>& answers) {
  const std::size_t prompt_tokens = request.prompt_tokens();
  std::size_t written = 0;
  std::size_t shared = 0;  // a prompt counts once, however many answers it gets
  for (std::size_t i = 0; i < answers.size(); ++i) {
    written += answers[i].token_ids.size();
    if (i % request.answers == 0) shared += answers[i].prompt_shared;
  }
  return {{"prompt_tokens", prompt_tokens},
          {"completion_tokens", written},
          {"total_tokens", prompt_tokens + written},
          {"prompt_tokens_details", {{"cached_tokens", shared}}}};
}

Json answer_body(const AnswerHead& head, const ApiRequest& request,
                 const std::vector<schedule::Answer>& answers, const llama_vocab* vocab) {
  if (request.endpoint == Endpoint::kEmbeddings) return embeddings_body(head, request, answers);
  Json choices = Json::array();
  for (std::size_t i = 0; i < answers.size(); ++i)
    choices.push_back(choice_of(request, answers[i], i, vocab));
  Json out = {{"id", head.id},
              {"object", object_name(request.endpoint)},
              {"created", head.created},
              {"model", head.model},
              {"choices", std::move(choices)},
              {"usage", usage_json(request, answers)}};
  if (!request.warnings.empty()) out["warnings"] = request.warnings;
  if (!head.fingerprint.empty()) out["system_fingerprint"] = head.fingerprint;
  return out;
}

Json error_body(const Error& error) {
  const auto field =
      error.code == ErrorCode::kInvalidArgument ? field_of(error.message) : std::optional<std::string>();
  Json out = {{"error",
               {{"message", error.message},
                {"type", is_the_requests_fault(error.code) ? "invalid_request_error" : "server_error"},
                {"param", field ? Json(*field) : Json()},
                {"code", nullptr}}}};
  if (const auto tokens = schedule::too_long_prompt(error)) {
    out["error"]["type"] = "exceed_context_size_error";
    out["error"]["code"] = "context_length_exceeded";
    out["error"]["n_prompt_tokens"] = tokens->prompt;
    out["error"]["n_ctx"] = tokens->context;
  }
  return out;
}

}  // namespace brimful::openai
