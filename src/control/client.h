#pragma once

#include <sys/types.h>

#include <chrono>
#include <nlohmann/json.hpp>
#include <vector>

#include "base/result.h"

namespace brimful::control {

/// The processes of this user that run a model and answer. Sockets of those that ended are removed.
/// Errors: those of socket_folder().
[[nodiscard]] Result<std::vector<pid_t>> running();

/// Asks `pid`, and waits for its answer. Errors: kNotFound where it runs no model; kIo where it does not
/// answer within `limit`; what it answers as `error`, with kInfeasible or
/// kInvalidArgument where its `code` says so.
[[nodiscard]] Result<nlohmann::json> ask(pid_t pid, const nlohmann::json& request,
                                         std::chrono::milliseconds limit);

}  // namespace brimful::control
