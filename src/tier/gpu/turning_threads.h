#pragma once

#include <condition_variable>
#include <deque>
#include <functional>
#include <memory>
#include <mutex>
#include <thread>
#include <vector>

#include "base/bytes.h"
#include "base/result.h"

namespace brimful::tier {

/// Threads that turn weights back to the file's layout while they are sent: a queue of jobs, each done by one
/// of them. Threading: any thread may add jobs.
class TurningThreads {
 public:
  /// Memory of one thread: its stack, and the kernel's structures. Measured with the threads that read.
  static constexpr Bytes kMemory{144 * 1024};

  /// Starts `count` threads. Errors: kInternal where the system gives no more threads.
  [[nodiscard]] static Result<std::unique_ptr<TurningThreads>> create(int count);
  /// Blocks until all jobs are done.
  ~TurningThreads();
  TurningThreads(const TurningThreads&) = delete;
  TurningThreads& operator=(const TurningThreads&) = delete;

  void add(std::function<void()> job);

 private:
  TurningThreads() = default;
  void work();

  std::mutex mutex_;
  std::condition_variable wake_;
  std::deque<std::function<void()>> jobs_;
  bool stop_ = false;
  std::vector<std::thread> threads_;
};

}  // namespace brimful::tier
