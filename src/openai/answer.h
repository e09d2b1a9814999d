#pragma once

#include <nlohmann/json.hpp>
#include <span>

#include "openai/request.h"

namespace brimful::openai {

/// What all answers to one request have in common.
struct AnswerHead {
  std::string id;
  std::string model;
  std::int64_t created = 0;  ///< s since 1970
  std::string fingerprint;   ///< `system_fingerprint`, see batch::fingerprint(); empty: the field is left out
};

/// `stop`, `length` or `tool_calls`.
[[nodiscard]] std::string finish_reason(engine::StopReason reason, bool calls_tools);

/// Of tokens of one choice, as the endpoint has them; null where there are none. `offset`: bytes of the text
/// before them, then behind them.
[[nodiscard]] nlohmann::ordered_json logprobs_json(Endpoint endpoint,
                                                   std::span<const schedule::WrittenLogprobs> places,
                                                   const llama_vocab* vocab, std::size_t& offset);

/// Of all answers to a request that writes text.
[[nodiscard]] nlohmann::ordered_json usage_json(const ApiRequest& request,
                                                const std::vector<schedule::Answer>& answers);

/// The body of OpenAI's API that holds all of an answer: `answers` to each part of the request. Text that is
/// no UTF-8 is for dump() to replace.
[[nodiscard]] nlohmann::ordered_json answer_body(const AnswerHead& head, const ApiRequest& request,
                                                 const std::vector<schedule::Answer>& answers,
                                                 const llama_vocab* vocab);

/// `{"error": {..}}`, with the field that the message begins with as `param`.
[[nodiscard]] nlohmann::ordered_json error_body(const Error& error);

}  // namespace brimful::openai
