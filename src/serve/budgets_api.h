#pragma once

#include <nlohmann/json.hpp>

#include "serve/http_message.h"

namespace brimful::serve {

/// `{"ram": "6GiB", "vram": "8GiB"}`, either or both, or `"vram": {"CUDA0": "8GiB"}`: what `brimful ctl` asks
/// of a process, and in the same way. Answers when the budgets hold, and with what they hold.
[[nodiscard]] HttpResponse change_budgets(const nlohmann::ordered_json& body);

/// What `brimful top --json` tells of this process.
[[nodiscard]] HttpResponse tell_status();

}  // namespace brimful::serve
