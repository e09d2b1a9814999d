#pragma once

#include <nlohmann/json.hpp>

#include "base/result.h"
#include "serve/http_message.h"

namespace brimful::serve {

/// Converts the body of change_budgets() to a request for the control socket (docs/control.md): sizes such as
/// `8GiB` become numbers of bytes. Errors: kInvalidArgument.
[[nodiscard]] Result<nlohmann::ordered_json> budgets_request(const nlohmann::ordered_json& body);

/// Changes the budgets of this process, in the same way as `brimful ctl`: through the process's control
/// socket. `body` is `{"ram": "6GiB", "vram": "8GiB"}` with one or both of them, or has `"vram": {"CUDA0":
/// "8GiB"}`. Returns the answer of the control socket: the new budgets, or the error.
/// Blocks: until the budgets hold, at most 10 minutes.
[[nodiscard]] HttpResponse change_budgets(const nlohmann::ordered_json& body);
/// Returns the status of this process, as its control socket and `brimful top --json` have it. Blocks: at
/// most 5 s.
[[nodiscard]] HttpResponse tell_status();

}  // namespace brimful::serve
