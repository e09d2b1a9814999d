#pragma once

#include <nlohmann/json.hpp>

namespace httplib {
struct Response;
}

namespace strata::serve {

/// `{"ram": "6GiB", "vram": "8GiB"}`, either or both, or `"vram": {"CUDA0": "8GiB"}`: what `strata ctl` asks
/// of a process, and in the same way. Answers when the budgets hold, and with what they hold.
void change_budgets(httplib::Response& response, const nlohmann::json& body);

/// What `strata top --json` tells of this process.
void tell_status(httplib::Response& response);

}  // namespace strata::serve
