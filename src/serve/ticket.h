#pragma once

#include <chrono>
#include <condition_variable>
#include <functional>
#include <mutex>
#include <optional>
#include <string>

#include "batch/api_request.h"

namespace strata::serve {

/// A request on its way through the executor, and what has come of it so far: one thread of the server waits
/// for the answer, the executor's thread writes it. Threading: any.
class Ticket {
 public:
  using Clock = std::chrono::steady_clock;

  Ticket(batch::ApiRequest request, Clock::time_point deadline)
      : request_(std::move(request)), deadline_(deadline) {}

  [[nodiscard]] const batch::ApiRequest& request() const { return request_; }
  [[nodiscard]] Clock::time_point deadline() const { return deadline_; }

  // --- whoever waits ---

  struct News {
    std::string text;                          ///< since the last time
    std::optional<Result<batch::Answer>> end;  ///< there is no more
  };
  /// Blocks until there are some.
  [[nodiscard]] News wait();
  /// How the executor finds out, once in each pass, that the client has gone. Holds until leave().
  void watch(std::function<bool()> client_gone);
  /// Nobody wants more.
  void leave();

  // --- the executor ---

  void add(std::string_view text);
  void end(Result<batch::Answer> answer);
  [[nodiscard]] bool gone();

 private:
  const batch::ApiRequest request_;
  const Clock::time_point deadline_;
  std::mutex mutex_;
  std::condition_variable changed_;
  std::string text_;
  std::optional<Result<batch::Answer>> end_;
  std::function<bool()> client_gone_;
  bool left_ = false;
};

}  // namespace strata::serve
