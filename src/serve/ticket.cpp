#include "serve/ticket.h"

namespace strata::serve {

Ticket::News Ticket::wait() {
  std::unique_lock lock(mutex_);
  changed_.wait(lock, [&] { return !text_.empty() || end_; });
  return {std::exchange(text_, {}), std::exchange(end_, std::nullopt)};
}

void Ticket::watch(std::function<bool()> client_gone) {
  const std::lock_guard lock(mutex_);
  client_gone_ = std::move(client_gone);
}

void Ticket::leave() {
  const std::lock_guard lock(mutex_);
  left_ = true;
  client_gone_ = {};
}

void Ticket::add(std::string_view text) {
  const std::lock_guard lock(mutex_);
  text_ += text;
  changed_.notify_all();
}

void Ticket::end(Result<batch::Answer> answer) {
  const std::lock_guard lock(mutex_);
  end_ = std::move(answer);
  changed_.notify_all();
}

bool Ticket::gone() {
  const std::lock_guard lock(mutex_);
  if (!left_ && client_gone_ && client_gone_()) left_ = true;
  return left_;
}

}  // namespace strata::serve
