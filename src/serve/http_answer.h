#pragma once

#include <nlohmann/json.hpp>

#include "base/result.h"
#include "serve/http_message.h"

namespace brimful::serve {

/// The status code of HTTP for an error.
[[nodiscard]] int status_of(const Error& error);

// These make an answer with a JSON body.
void answer_json(HttpResponse& response, const nlohmann::ordered_json& body, int status = 200);
[[nodiscard]] HttpResponse json_response(const nlohmann::ordered_json& body, int status = 200);

// These make an answer that reports an error in the form of OpenAI's API. Without `status`, it is
// status_of().
void refuse(HttpResponse& response, const Error& error);
[[nodiscard]] HttpResponse refused(const Error& error);
[[nodiscard]] HttpResponse refused(int status, const Error& error);

/// Makes an answer from the object, or from the error.
[[nodiscard]] HttpResponse json_response(const Result<nlohmann::ordered_json>& object);

}  // namespace brimful::serve
