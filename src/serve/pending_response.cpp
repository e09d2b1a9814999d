#include "serve/pending_response.h"

#include <algorithm>
#include <iterator>
#include <utility>

namespace brimful::serve {

PendingResponse::Update PendingResponse::take_update() {
  const std::lock_guard lock(mutex_);
  return std::exchange(update_, {});
}

void PendingResponse::watch(std::function<void()> wake) {
  const std::lock_guard lock(mutex_);
  wake_ = std::move(wake);
}

void PendingResponse::leave() {
  const std::lock_guard lock(mutex_);
  left_ = true;
  wake_ = {};
}

void PendingResponse::add(std::size_t choice, schedule::Piece piece) {
  const std::lock_guard lock(mutex_);
  schedule::Piece& all = update_.pieces[choice];
  all.text += piece.text;
  std::ranges::move(piece.logprobs, std::back_inserter(all.logprobs));
  if (wake_) wake_();
}

void PendingResponse::end(Answers answers) {
  const std::lock_guard lock(mutex_);
  update_.end = std::move(answers);
  if (wake_) wake_();
}

bool PendingResponse::gone() const {
  const std::lock_guard lock(mutex_);
  return left_;
}

}  // namespace brimful::serve
