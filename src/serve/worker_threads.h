#pragma once

#include <pthread.h>

#include <condition_variable>
#include <deque>
#include <functional>
#include <mutex>
#include <vector>

namespace brimful::serve {

/// A few threads that do one piece of work after the other. A thread starts when there is work and none is
/// free. Threading: any thread may call post().
class WorkerThreads {
 public:
  static constexpr std::size_t kStack = 4U
                                        << 20;  ///< bytes of address space: only what is touched takes memory

  explicit WorkerThreads(std::size_t most) : most_(most) {}
  /// Does all work that is waiting, and then ends the threads.
  ~WorkerThreads();
  WorkerThreads(const WorkerThreads&) = delete;
  WorkerThreads& operator=(const WorkerThreads&) = delete;

  /// Adds `work`, which throws nothing. False where no thread can be started to do it.
  [[nodiscard]] bool post(std::function<void()> work);

 private:
  static void* begin(void* self);
  void do_work();
  [[nodiscard]] bool start_thread();

  const std::size_t most_;
  std::mutex mutex_;
  std::condition_variable changed_;
  std::deque<std::function<void()>> waiting_;
  std::vector<pthread_t> threads_;
  std::size_t free_ = 0;  // threads that wait for work
  bool stopping_ = false;
};

}  // namespace brimful::serve
