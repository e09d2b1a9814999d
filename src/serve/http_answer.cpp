#include "serve/http_answer.h"

#include "openai/answer.h"

namespace brimful::serve {

using Json = nlohmann::ordered_json;

int status_of(const Error& error) {
  switch (error.code) {
    case ErrorCode::kInvalidArgument:
    case ErrorCode::kUnsupported: return 400;
    case ErrorCode::kNotFound: return 404;
    case ErrorCode::kInfeasible: return 409;
    case ErrorCode::kBudgetExceeded: return 429;
    case ErrorCode::kCancelled: return 503;
    case ErrorCode::kNoSpace: return 507;
    default: return 500;
  }
}

void answer_json(HttpResponse& response, const Json& body, int status) {
  response.status = status;
  response.set("Content-Type", "application/json");
  response.body = body.dump(-1, ' ', false, Json::error_handler_t::replace);
}

HttpResponse json_response(const Json& body, int status) {
  HttpResponse out;
  answer_json(out, body, status);
  return out;
}

HttpResponse json_response(const Result<Json>& object) {
  return object ? json_response(*object) : refused(object.error());
}

void refuse(HttpResponse& response, const Error& error) {
  answer_json(response, openai::error_body(error), status_of(error));
}

HttpResponse refused(const Error& error) { return refused(status_of(error), error); }

HttpResponse refused(int status, const Error& error) {
  return json_response(openai::error_body(error), status);
}

}  // namespace brimful::serve
