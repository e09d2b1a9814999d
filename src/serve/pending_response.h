#pragma once

#include <chrono>
#include <functional>
#include <map>
#include <mutex>
#include <optional>
#include <string>

#include "openai/request.h"

namespace brimful::serve {

/// A request that the scheduler computes, with its answer so far. The scheduler's thread adds to the answer,
/// and the server's threads take it. No function blocks. Threading: any number of threads.
class PendingResponse {
 public:
  using Clock = std::chrono::steady_clock;

  /// `deadline` is the time at which the ServeLoop cancels the request.
  PendingResponse(openai::ApiRequest request, Clock::time_point deadline)
      : request_(std::move(request)), deadline_(deadline) {}

  [[nodiscard]] const openai::ApiRequest& request() const { return request_; }
  [[nodiscard]] Clock::time_point deadline() const { return deadline_; }

  // --- for the server's threads ---

  using Answers = Result<std::vector<schedule::Answer>>;
  /// The part of the answer that was added since the last update.
  struct Update {
    /// The new text of each choice, by the number of the choice. Only requests for a stream have such
    /// pieces.
    std::map<std::size_t, schedule::Piece> pieces;
    /// The whole answers, or the error, when the request has ended.
    std::optional<Answers> end;

    [[nodiscard]] bool empty() const { return pieces.empty() && !end; }
  };
  /// Returns everything since the last call; it may be empty.
  [[nodiscard]] Update take_update();
  /// Sets a function that is called for each new update, from the scheduler's thread, until leave() returns.
  void watch(std::function<void()> wake);
  /// Says that nobody wants the answer any more. The scheduler cancels the request before its next pass.
  void leave();

  // --- for the scheduler's thread ---

  /// Adds text to a choice.
  void add(std::size_t choice, schedule::Piece piece);
  /// Ends the request with its answers or an error.
  void end(Answers answers);
  /// Whether leave() was called.
  [[nodiscard]] bool gone() const;

 private:
  const openai::ApiRequest request_;
  const Clock::time_point deadline_;
  mutable std::mutex mutex_;
  Update update_;
  std::function<void()> wake_;
  bool left_ = false;
};

}  // namespace brimful::serve
