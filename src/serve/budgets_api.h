#pragma once

#include <nlohmann/json.hpp>

#include "serve/http_message.h"

namespace strata::serve {

/// `{"ram": "6GiB", "vram": "8GiB"}`, either or both, or `"vram": {"CUDA0": "8GiB"}`: what `strata ctl` asks
/// of a process, and in the same way. Answers when the budgets hold, and with what they hold.
[[nodiscard]] HttpResponse change_budgets(const nlohmann::ordered_json& body);

/// What `strata top --json` tells of this process.
[[nodiscard]] HttpResponse tell_status();

}  // namespace strata::serve
