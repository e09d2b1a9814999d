#include "serve/ticket.h"

#include <algorithm>
#include <iterator>

namespace strata::serve {

Ticket::News Ticket::wait() {
  std::unique_lock lock(mutex_);
  changed_.wait(lock, [&] { return !news_.empty(); });
  return std::exchange(news_, {});
}

Ticket::News Ticket::wait_for(std::chrono::seconds patience) {
  std::unique_lock lock(mutex_);
  changed_.wait_for(lock, patience, [&] { return !news_.empty(); });
  return std::exchange(news_, {});
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

void Ticket::add(std::size_t choice, batch::Piece piece) {
  const std::lock_guard lock(mutex_);
  batch::Piece& all = news_.pieces[choice];
  all.text += piece.text;
  std::ranges::move(piece.logprobs, std::back_inserter(all.logprobs));
  changed_.notify_all();
}

void Ticket::end(Answers answers) {
  const std::lock_guard lock(mutex_);
  news_.end = std::move(answers);
  changed_.notify_all();
}

bool Ticket::gone() {
  const std::lock_guard lock(mutex_);
  if (!left_ && client_gone_ && client_gone_()) left_ = true;
  return left_;
}

}  // namespace strata::serve
