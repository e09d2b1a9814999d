#include "serve/worker_threads.h"

#include <utility>

namespace brimful::serve {

WorkerThreads::~WorkerThreads() {
  {
    const std::lock_guard lock(mutex_);
    stopping_ = true;
  }
  changed_.notify_all();
  for (const pthread_t thread : threads_) ::pthread_join(thread, nullptr);
}

bool WorkerThreads::post(std::function<void()> work) {
  const std::lock_guard lock(mutex_);
  if (waiting_.size() >= free_ && threads_.size() < most_ && !start_thread() && threads_.empty())
    return false;
  waiting_.push_back(std::move(work));
  changed_.notify_one();
  return true;
}

bool WorkerThreads::start_thread() {
  pthread_attr_t attributes;
  if (::pthread_attr_init(&attributes) != 0) return false;
  pthread_t thread{};
  const bool started = ::pthread_attr_setstacksize(&attributes, kStack) == 0 &&
                       ::pthread_create(&thread, &attributes, &WorkerThreads::begin, this) == 0;
  ::pthread_attr_destroy(&attributes);
  if (!started) return false;
  threads_.push_back(thread);
  ++free_;
  return true;
}

void* WorkerThreads::begin(void* self) {
  static_cast<WorkerThreads*>(self)->do_work();
  return nullptr;
}

void WorkerThreads::do_work() {
  std::unique_lock lock(mutex_);
  for (;;) {
    changed_.wait(lock, [&] { return !waiting_.empty() || stopping_; });
    if (waiting_.empty()) return;
    std::function<void()> work = std::move(waiting_.front());
    waiting_.pop_front();
    --free_;
    lock.unlock();
    work();
    work = nullptr;
    lock.lock();
    ++free_;
  }
}

}  // namespace brimful::serve
