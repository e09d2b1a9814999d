#pragma once

#include <condition_variable>
#include <memory>
#include <mutex>
#include <vector>

#include "serve/pending_response.h"

namespace brimful::serve {

/// The queue of requests from the server's threads to the scheduler's thread. It limits the number of
/// requests that are waiting or computed. Threading: any number of threads.
class RequestQueue {
 public:
  /// `most` is the largest number of requests that have not ended yet. A request for several answers counts
  /// once for each answer; one for embeddings counts once. `time` is the time until the deadline of a
  /// request.
  RequestQueue(std::size_t most, std::chrono::seconds time) : most_(most), time_(time) {}

  /// Adds a request. Errors: kBudgetExceeded when there are too many requests; kInvalidArgument when this
  /// request alone asks for too many answers; kCancelled after close().
  [[nodiscard]] Result<std::shared_ptr<PendingResponse>> put(openai::ApiRequest request);
  /// Refuses further requests. Those in the queue can still be taken.
  void close();

  /// Takes all requests that were added since the last call. Blocks: at most `patience`, while the queue is
  /// empty and not closed.
  [[nodiscard]] std::vector<std::shared_ptr<PendingResponse>> take(std::chrono::milliseconds patience);
  /// Says that a request which was taken has ended, so that others can be added.
  void ended(const PendingResponse& response);
  /// The number of requests that have not ended, counted as for `most`.
  [[nodiscard]] std::size_t open() const;
  [[nodiscard]] std::chrono::seconds time() const { return time_; }

 private:
  [[nodiscard]] static std::size_t weight_of(const openai::ApiRequest& request);

  const std::size_t most_;
  const std::chrono::seconds time_;  // The time that a request may take.
  mutable std::mutex mutex_;
  std::condition_variable changed_;
  std::vector<std::shared_ptr<PendingResponse>> came_;
  std::size_t open_ = 0;
  bool closed_ = false;
};

}  // namespace brimful::serve
