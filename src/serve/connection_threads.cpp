#include "serve/connection_threads.h"

#include <system_error>

namespace strata::serve {

bool ConnectionThreads::enqueue(std::function<void()> serve) {
  const std::lock_guard lock(mutex_);
  if (stopped_ || waiting_.size() >= kMostWaiting) return false;
  if (waiting_.size() >= resting_ && threads_.size() < most_) {
    try {
      threads_.emplace_back([this] { work(); });
      ++resting_;
    } catch (const std::system_error&) {  // no more threads: it waits for one of those there are
      if (threads_.empty()) return false;
    }
  }
  waiting_.push_back(std::move(serve));
  changed_.notify_one();
  return true;
}

void ConnectionThreads::work() {
  std::unique_lock lock(mutex_);
  for (;;) {
    changed_.wait(lock, [&] { return !waiting_.empty() || stopped_; });
    if (waiting_.empty()) return;
    const std::function<void()> serve = std::move(waiting_.front());
    waiting_.pop_front();
    --resting_;
    lock.unlock();
    serve();
    lock.lock();
    ++resting_;
  }
}

void ConnectionThreads::shutdown() {
  {
    const std::lock_guard lock(mutex_);
    stopped_ = true;
  }
  changed_.notify_all();
  for (std::thread& thread : threads_) thread.join();
}

}  // namespace strata::serve
