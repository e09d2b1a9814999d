#include "serve/request_queue.h"

#include <fmt/format.h>

#include <utility>

namespace brimful::serve {

/// Returns how much a request counts. Each answer is a request for the scheduler. Embeddings are computed in
/// one pass, however many there are.
std::size_t RequestQueue::weight_of(const openai::ApiRequest& request) {
  return request.endpoint == openai::Endpoint::kEmbeddings ? 1 : request.part_count();
}

Result<std::shared_ptr<PendingResponse>> RequestQueue::put(openai::ApiRequest request) {
  const std::lock_guard lock(mutex_);
  if (closed_) return fail(ErrorCode::kCancelled, "the server is stopping");
  const std::size_t weight = weight_of(request);
  if (weight > most_)
    return fail(ErrorCode::kInvalidArgument,
                fmt::format("n: {} answers are more than this server's limit of waiting and running ones: {}",
                            weight, most_));
  if (open_ + weight > most_)
    return fail(ErrorCode::kBudgetExceeded,
                fmt::format("{} requests are already running or waiting: try again later", open_));
  open_ += weight;
  auto response =
      std::make_shared<PendingResponse>(std::move(request), PendingResponse::Clock::now() + time_);
  came_.push_back(response);
  changed_.notify_all();
  return response;
}

void RequestQueue::close() {
  const std::lock_guard lock(mutex_);
  closed_ = true;
  changed_.notify_all();
}

std::vector<std::shared_ptr<PendingResponse>> RequestQueue::take(std::chrono::milliseconds patience) {
  std::unique_lock lock(mutex_);
  changed_.wait_for(lock, patience, [&] { return !came_.empty() || closed_; });
  return std::exchange(came_, {});
}

void RequestQueue::ended(const PendingResponse& response) {
  const std::lock_guard lock(mutex_);
  open_ -= weight_of(response.request());
}

std::size_t RequestQueue::open() const {
  const std::lock_guard lock(mutex_);
  return open_;
}

}  // namespace brimful::serve
