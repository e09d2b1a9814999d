#include "serve/ticket.h"

#include <algorithm>
#include <iterator>
#include <utility>

namespace brimful::serve {

Ticket::News Ticket::take_news() {
  const std::lock_guard lock(mutex_);
  return std::exchange(news_, {});
}

void Ticket::watch(std::function<void()> wake) {
  const std::lock_guard lock(mutex_);
  wake_ = std::move(wake);
}

void Ticket::leave() {
  const std::lock_guard lock(mutex_);
  left_ = true;
  wake_ = {};
}

void Ticket::add(std::size_t choice, schedule::Piece piece) {
  const std::lock_guard lock(mutex_);
  schedule::Piece& all = news_.pieces[choice];
  all.text += piece.text;
  std::ranges::move(piece.logprobs, std::back_inserter(all.logprobs));
  if (wake_) wake_();
}

void Ticket::end(Answers answers) {
  const std::lock_guard lock(mutex_);
  news_.end = std::move(answers);
  if (wake_) wake_();
}

bool Ticket::gone() const {
  const std::lock_guard lock(mutex_);
  return left_;
}

}  // namespace brimful::serve
