#pragma once

#include <cpp-httplib/httplib.h>

#include <nlohmann/json.hpp>

#include "base/result.h"

namespace strata::serve {

/// HTTP's number for what went wrong.
[[nodiscard]] int status_of(const Error& error);

void answer_json(httplib::Response& response, const nlohmann::ordered_json& body,
                 int status = httplib::OK_200);

/// As OpenAI's API does.
void refuse(httplib::Response& response, const Error& error);
void refuse(httplib::Response& response, int status, const Error& error);

}  // namespace strata::serve
