#pragma once

#include <functional>
#include <vector>

#include "batch/api_request.h"
#include "batch/executor.h"

namespace brimful::batch {

/// As Listener, for all parts of an ApiRequest, which it numbers.
struct ApiListener {
  std::function<void(std::size_t part, Piece piece)> on_piece;      ///< may be unset
  std::function<void(Result<std::vector<Answer>> answers)> on_end;  ///< once: when all have ended, with texts
};

/// Puts what the API asks for into the executor's queue: a request for each part. Errors: those of
/// Executor::submit; then nothing is in the queue, and the listener hears nothing.
[[nodiscard]] Result<std::vector<Executor::Id>> submit(Executor& executor, const ApiRequest& request,
                                                       Priority priority, ApiListener listener);

}  // namespace brimful::batch
