#pragma once

#include <functional>
#include <vector>

#include "openai/request.h"
#include "schedule/scheduler.h"

namespace brimful::openai {

/// Like schedule::Callbacks, but for all parts of an ApiRequest together. `part` is the index in
/// ApiRequest::parts().
struct AnswerCallbacks {
  /// May be unset.
  std::function<void(std::size_t part, schedule::Piece piece)> on_piece;
  /// Called once, when all parts have ended. The answers are in the order of the parts, and have their texts.
  std::function<void(Result<std::vector<schedule::Answer>> answers)> on_end;
};

/// Puts a request for each part of `request` into the scheduler's queue. Returns their ids. Errors: those of
/// schedule::Scheduler::submit; then nothing is in the queue, and no callback is called.
[[nodiscard]] Result<std::vector<schedule::Scheduler::Id>> submit(schedule::Scheduler& scheduler,
                                                                  const ApiRequest& request,
                                                                  schedule::Priority priority,
                                                                  AnswerCallbacks listener);

}  // namespace brimful::openai
