#pragma once

#include <cpp-httplib/httplib.h>

#include <condition_variable>
#include <deque>
#include <functional>
#include <mutex>
#include <thread>
#include <vector>

namespace strata::serve {

/// A thread for each connection that is open, as many as there may be; those that come then wait, up to
/// kMostWaiting, and the rest is closed at once. Threads stay for the next ones. Instead of httplib's own
/// pool, which lets connections wait for one another when several come before a thread that rests has woken.
/// Threading: any.
class ConnectionThreads final : public httplib::TaskQueue {
 public:
  static constexpr std::size_t kMostWaiting = 512;

  explicit ConnectionThreads(std::size_t most) : most_(most) {}

  bool enqueue(std::function<void()> serve) override;
  /// Those that have been taken in are served first.
  void shutdown() override;

 private:
  void work();

  const std::size_t most_;
  std::mutex mutex_;
  std::condition_variable changed_;
  std::deque<std::function<void()>> waiting_;
  std::vector<std::thread> threads_;
  std::size_t resting_ = 0;  // or just started: as many of those that wait are as good as taken
  bool stopped_ = false;
};

}  // namespace strata::serve
