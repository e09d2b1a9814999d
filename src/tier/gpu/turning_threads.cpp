#include "tier/gpu/turning_threads.h"

#include <string>
#include <system_error>

namespace brimful::tier {

Result<std::unique_ptr<TurningThreads>> TurningThreads::create(int count) {
  std::unique_ptr<TurningThreads> out(new TurningThreads);
  try {
    for (int i = 0; i < count; ++i) out->threads_.emplace_back([all = out.get()] { all->work(); });
  } catch (const std::system_error& error) {
    return fail(ErrorCode::kInternal,
                std::string("cannot start a thread that sends weights: ") + error.what());
  }
  return out;
}

TurningThreads::~TurningThreads() {
  {
    const std::lock_guard lock(mutex_);
    stop_ = true;
  }
  wake_.notify_all();
  for (std::thread& thread : threads_) thread.join();
}

void TurningThreads::add(std::function<void()> job) {
  {
    const std::lock_guard lock(mutex_);
    jobs_.push_back(std::move(job));
  }
  wake_.notify_one();
}

void TurningThreads::work() {
  std::unique_lock lock(mutex_);
  while (true) {
    wake_.wait(lock, [this] { return stop_ || !jobs_.empty(); });
    if (jobs_.empty()) return;
    const std::function<void()> job = std::move(jobs_.front());
    jobs_.pop_front();
    lock.unlock();
    job();
    lock.lock();
  }
}

}  // namespace brimful::tier
