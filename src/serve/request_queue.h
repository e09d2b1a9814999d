#pragma once

#include <condition_variable>
#include <memory>
#include <mutex>
#include <vector>

#include "serve/pending_response.h"

namespace brimful::serve {

/// Between the threads of the server and the scheduler's: requests that came, as many as may be on their way.
/// Threading: any.
class RequestQueue {
 public:
  /// `most`: requests that have no end yet; one counts as often as it wants answers.
  RequestQueue(std::size_t most, std::chrono::seconds time) : most_(most), time_(time) {}

  /// Errors: kBudgetExceeded where there are too many, kInvalidArgument where it is too many by itself;
  /// kCancelled once it is closed.
  [[nodiscard]] Result<std::shared_ptr<PendingResponse>> put(openai::ApiRequest request);
  /// No more come: the rest is to be answered.
  void close();

  /// What came since the last time; waits for it, where there is nothing, no longer than `patience`.
  [[nodiscard]] std::vector<std::shared_ptr<PendingResponse>> take(std::chrono::milliseconds patience);
  /// One that was taken has its end.
  void ended(const PendingResponse& response);
  [[nodiscard]] std::size_t open() const;
  [[nodiscard]] std::chrono::seconds time() const { return time_; }

 private:
  [[nodiscard]] static std::size_t weight_of(const openai::ApiRequest& request);

  const std::size_t most_;
  const std::chrono::seconds time_;  // for a request
  mutable std::mutex mutex_;
  std::condition_variable changed_;
  std::vector<std::shared_ptr<PendingResponse>> came_;
  std::size_t open_ = 0;
  bool closed_ = false;
};

}  // namespace brimful::serve
