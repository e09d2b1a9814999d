#pragma once

#include <chrono>
#include <condition_variable>
#include <functional>
#include <map>
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

  using Answers = Result<std::vector<batch::Answer>>;
  struct News {
    std::map<std::size_t, batch::Piece> pieces;  ///< since the last time, by choice
    std::optional<Answers> end;                  ///< there is no more

    [[nodiscard]] bool empty() const { return pieces.empty() && !end; }
  };
  /// Blocks until there are some.
  [[nodiscard]] News wait();
  /// Blocks no longer than that; there may be none.
  [[nodiscard]] News wait_for(std::chrono::seconds patience);
  /// How the executor finds out, once in each pass, that the client has gone. Holds until leave().
  void watch(std::function<bool()> client_gone);
  /// Nobody wants more.
  void leave();

  // --- the executor ---

  void add(std::size_t choice, batch::Piece piece);
  void end(Answers answers);
  [[nodiscard]] bool gone();

 private:
  const batch::ApiRequest request_;
  const Clock::time_point deadline_;
  std::mutex mutex_;
  std::condition_variable changed_;
  News news_;
  std::function<bool()> client_gone_;
  bool left_ = false;
};

}  // namespace strata::serve
