#pragma once

#include <vector>

#include "batch/api_request.h"
#include "batch/executor.h"

namespace strata::batch {

/// Puts what the API asks for into the executor's queue: one request or, of embeddings, one for each input.
/// The listener hears of their end once: when all have ended, with all vectors. Errors: those of
/// Executor::submit; then nothing is in the queue, and the listener hears nothing.
[[nodiscard]] Result<std::vector<Executor::Id>> submit(Executor& executor, const ApiRequest& request,
                                                       Priority priority, Listener listener);

}  // namespace strata::batch
