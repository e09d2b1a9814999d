#pragma once

#include <chrono>
#include <functional>
#include <map>
#include <mutex>
#include <optional>
#include <string>

#include "openai/request.h"

namespace brimful::serve {

/// A request on its way through the scheduler, and what has come of it so far: the scheduler's thread writes
/// the answer, the server's threads take it. Nobody waits inside. Threading: any.
class PendingResponse {
 public:
  using Clock = std::chrono::steady_clock;

  PendingResponse(openai::ApiRequest request, Clock::time_point deadline)
      : request_(std::move(request)), deadline_(deadline) {}

  [[nodiscard]] const openai::ApiRequest& request() const { return request_; }
  [[nodiscard]] Clock::time_point deadline() const { return deadline_; }

  // --- whoever waits ---

  using Answers = Result<std::vector<schedule::Answer>>;
  struct Update {
    std::map<std::size_t, schedule::Piece> pieces;  ///< since the last time, by choice
    std::optional<Answers> end;                     ///< there is no more

    [[nodiscard]] bool empty() const { return pieces.empty() && !end; }
  };
  /// Returns what has come since the last time; it may be empty.
  [[nodiscard]] Update take_update();
  /// `wake` is called whenever there are news, from the scheduler's thread, until leave() returns.
  void watch(std::function<void()> wake);
  /// Nobody wants more: the scheduler ends the request before its next pass.
  void leave();

  // --- the scheduler ---

  void add(std::size_t choice, schedule::Piece piece);
  void end(Answers answers);
  /// Whether nobody wants more.
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
