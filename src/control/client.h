#pragma once

#include <sys/types.h>

#include <chrono>
#include <nlohmann/json.hpp>
#include <vector>

#include "base/result.h"

namespace brimful::control {

/// Returns the processes of this user that run a model, ascending. Sockets of processes that have ended are
/// removed.
/// Errors: those of socket_folder(). Blocks: at most 2 s for each process that is stopped.
[[nodiscard]] Result<std::vector<pid_t>> running();

/// Sends a request to process `pid` and returns its answer.
/// Errors: kNotFound when the process runs no model; kIo when it does not answer within `limit`. When the
/// answer has a field `error`, that is the message of the error; its code is kInfeasible or kInvalidArgument
/// when the field `code` says so, else kIo.
/// Blocks: until the answer arrives.
[[nodiscard]] Result<nlohmann::json> ask(pid_t pid, const nlohmann::json& request,
                                         std::chrono::milliseconds limit);

}  // namespace brimful::control
