#include "serve/inbox.h"

#include <fmt/format.h>

#include <utility>

namespace strata::serve {

Result<std::shared_ptr<Ticket>> Inbox::put(batch::ApiRequest request) {
  const std::lock_guard lock(mutex_);
  if (closed_) return fail(ErrorCode::kCancelled, "the server is stopping");
  if (open_ >= most_)
    return fail(ErrorCode::kBudgetExceeded, fmt::format("{} requests are on their way already", open_));
  ++open_;
  auto ticket = std::make_shared<Ticket>(std::move(request), Ticket::Clock::now() + time_);
  came_.push_back(ticket);
  changed_.notify_all();
  return ticket;
}

void Inbox::close() {
  const std::lock_guard lock(mutex_);
  closed_ = true;
  changed_.notify_all();
}

std::vector<std::shared_ptr<Ticket>> Inbox::take(std::chrono::milliseconds patience) {
  std::unique_lock lock(mutex_);
  changed_.wait_for(lock, patience, [&] { return !came_.empty() || closed_; });
  return std::exchange(came_, {});
}

void Inbox::ended() {
  const std::lock_guard lock(mutex_);
  --open_;
}

std::size_t Inbox::open() const {
  const std::lock_guard lock(mutex_);
  return open_;
}

}  // namespace strata::serve
