#pragma once

#include <pthread.h>

#include <condition_variable>
#include <deque>
#include <functional>
#include <mutex>
#include <vector>

namespace brimful::serve {

/// A small pool of threads. A thread is started when there is work and no thread is free, up to a limit.
/// Threading: any thread may call post().
class WorkerThreads {
 public:
  /// The size of each thread's stack in bytes of address space. Only touched pages take memory.
  static constexpr std::size_t kStack = 4U << 20;

  /// `most` is the largest number of threads.
  explicit WorkerThreads(std::size_t most) : most_(most) {}
  /// Finishes all work that is waiting, and then ends the threads. Blocks until then.
  ~WorkerThreads();
  WorkerThreads(const WorkerThreads&) = delete;
  WorkerThreads& operator=(const WorkerThreads&) = delete;

  /// Adds `work`, which must not throw. Returns false, and drops the work, when no thread can be started.
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
  std::size_t free_ = 0;  // The number of threads that wait for work.
  bool stopping_ = false;
};

}  // namespace brimful::serve
