#pragma once

#include <nlohmann/json.hpp>
#include <span>

#include "openai/request.h"

namespace brimful::openai {

/// Fields that all answers to one request have in common.
struct AnswerHead {
  std::string id;
  std::string model;
  std::int64_t created = 0;  ///< seconds since 1970
  /// `system_fingerprint`, see batch::fingerprint(). Empty: the field is left out.
  std::string fingerprint;
};

/// The `finish_reason` of a choice: `stop`, `length` or `tool_calls`. `calls_tools`: the answer calls a tool.
[[nodiscard]] std::string finish_reason(engine::StopReason reason, bool calls_tools);

/// The log probabilities of some tokens of one choice, in the form of the endpoint; null when `places` is
/// empty. `offset` is the number of bytes of the choice's text before these tokens. For a completion, the
/// function adds the bytes of these tokens to it.
[[nodiscard]] nlohmann::ordered_json logprobs_json(Endpoint endpoint,
                                                   std::span<const schedule::WrittenLogprobs> places,
                                                   const llama_vocab* vocab, std::size_t& offset);

/// The `usage` field for all answers to a request that generates text.
[[nodiscard]] nlohmann::ordered_json usage_json(const ApiRequest& request,
                                                const std::vector<schedule::Answer>& answers);

/// The body of a response that is not streamed. `answers` has one answer for each part of the request, in the
/// order of ApiRequest::parts(). Texts in the body may be invalid UTF-8: dump() has to replace it.
[[nodiscard]] nlohmann::ordered_json answer_body(const AnswerHead& head, const ApiRequest& request,
                                                 const std::vector<schedule::Answer>& answers,
                                                 const llama_vocab* vocab);

/// An error body, `{"error": {..}}`. If the message begins with the name of a field, the name becomes
/// `param`.
[[nodiscard]] nlohmann::ordered_json error_body(const Error& error);

}  // namespace brimful::openai
