#pragma once

#include <brimful/session.h>

#include <vector>

#include "chat/chat_parser.h"
#include "schedule/request.h"

namespace brimful::session {

/// A request of Session::submit() that has not ended, and the answer so far. Not thread-safe.
class RunningRequest {
 public:
  /// `parser` reads the text of the answer. The answer begins as `completion`.
  RunningRequest(chat::ChatParser parser, Callbacks callbacks, Completion completion);

  /// Adds a piece of the answer, and passes on what it adds.
  void add(const schedule::Piece& piece);
  /// Calls on_end, unless it is unset. Called once.
  void end(Result<schedule::Answer> answer);

  /// on_text and on_delta are not called any more.
  void stop_showing() { shows_ = false; }
  /// False: the caller wants no more of this answer.
  [[nodiscard]] bool is_wanted() const { return shows_; }

 private:
  void show(const std::vector<chat::ChatDelta>& deltas);
  [[nodiscard]] bool tell(const chat::ChatDelta& delta);

  chat::ChatStream stream_;
  Callbacks callbacks_;
  Completion completion_;
  std::vector<LogProbabilities> untold_;  // what on_delta has not got yet
  bool shows_ = true;
};

}  // namespace brimful::session
