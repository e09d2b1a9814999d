#include "serve/http_answer.h"

#include "batch/api_answer.h"

namespace strata::serve {

using Json = nlohmann::ordered_json;

int status_of(const Error& error) {
  switch (error.code) {
    case ErrorCode::kInvalidArgument:
    case ErrorCode::kUnsupported: return httplib::BadRequest_400;
    case ErrorCode::kNotFound: return httplib::NotFound_404;
    case ErrorCode::kInfeasible: return httplib::Conflict_409;
    case ErrorCode::kBudgetExceeded: return httplib::TooManyRequests_429;
    case ErrorCode::kCancelled: return httplib::ServiceUnavailable_503;
    case ErrorCode::kNoSpace: return httplib::InsufficientStorage_507;
    default: return httplib::InternalServerError_500;
  }
}

void answer_json(httplib::Response& response, const Json& body, int status) {
  response.status = status;
  response.set_content(body.dump(-1, ' ', false, Json::error_handler_t::replace), "application/json");
}

void refuse(httplib::Response& response, int status, const Error& error) {
  answer_json(response, batch::error_body(error), status);
}

void refuse(httplib::Response& response, const Error& error) { refuse(response, status_of(error), error); }

}  // namespace strata::serve
