#pragma once

#include <nlohmann/json.hpp>

#include "batch/api_request.h"

namespace strata::batch {

/// What all answers to one request have in common.
struct AnswerHead {
  std::string id;
  std::string model;
  std::int64_t created = 0;  ///< s since 1970
};

/// `stop`, `length` or `tool_calls`.
[[nodiscard]] std::string finish_reason(engine::StopReason reason, bool calls_tools);

/// The body of OpenAI's API that holds all of an answer: `answers` to each part of the request. Text that is
/// no UTF-8 is for dump() to replace.
[[nodiscard]] nlohmann::ordered_json answer_body(const AnswerHead& head, const ApiRequest& request,
                                                 const std::vector<Answer>& answers,
                                                 const llama_vocab* vocab);

/// `{"error": {..}}`, with the field that the message begins with as `param`.
[[nodiscard]] nlohmann::ordered_json error_body(const Error& error);

}  // namespace strata::batch
