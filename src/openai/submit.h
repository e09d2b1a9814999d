#pragma once

#include <functional>
#include <vector>

#include "openai/request.h"
#include "schedule/scheduler.h"

namespace brimful::openai {

/// As Listener, for all parts of an ApiRequest, which it numbers.
struct AnswerCallbacks {
  std::function<void(std::size_t part, schedule::Piece piece)> on_piece;  ///< may be unset
  std::function<void(Result<std::vector<schedule::Answer>> answers)>
      on_end;  ///< once: when all have ended, with texts
};

/// Puts what the API asks for into the scheduler's queue: a request for each part. Errors: those of
/// schedule::Scheduler::submit; then nothing is in the queue, and the listener hears nothing.
[[nodiscard]] Result<std::vector<schedule::Scheduler::Id>> submit(schedule::Scheduler& scheduler,
                                                                  const ApiRequest& request,
                                                                  schedule::Priority priority,
                                                                  AnswerCallbacks listener);

}  // namespace brimful::openai
