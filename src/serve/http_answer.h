#pragma once

#include <nlohmann/json.hpp>

#include "base/result.h"
#include "serve/http_message.h"

namespace brimful::serve {

/// HTTP's number for what went wrong.
[[nodiscard]] int status_of(const Error& error);

void answer_json(HttpResponse& response, const nlohmann::ordered_json& body, int status = 200);
[[nodiscard]] HttpResponse json_response(const nlohmann::ordered_json& body, int status = 200);

/// An error, as OpenAI's API tells it.
void refuse(HttpResponse& response, const Error& error);
[[nodiscard]] HttpResponse refused(const Error& error);
[[nodiscard]] HttpResponse refused(int status, const Error& error);

/// The object, or the error.
[[nodiscard]] HttpResponse json_response(const Result<nlohmann::ordered_json>& object);

}  // namespace brimful::serve
