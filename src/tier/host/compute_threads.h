#pragma once

#include <ggml-backend.h>
#include <sys/types.h>

#include <memory>
#include <vector>

#include "base/result.h"
#include "tier/host/thread_count.h"

struct ggml_threadpool;

namespace brimful::tier {

/// The threads that compute, all of one ggml thread pool, and how many of them do at the moment.
///
/// Around each stretch of a graph: again(), then compute, then computed(). From the waits that the kernel
/// counts for each thread, ThreadCount decides how many compute next. A thread that is taken back sleeps.
/// Threading: one thread at a time, the one that computes. Lifetime: outlives the back ends given to it, or
/// forget() is called for them.
class ComputeThreads {
 public:
  /// Starts `most` - 1 threads: the caller of a graph is the first one. `most` is at least 1.
  /// Errors: kInternal where the system gives no more threads.
  [[nodiscard]] static Result<std::unique_ptr<ComputeThreads>> create(int most);
  ~ComputeThreads();
  ComputeThreads(const ComputeThreads&) = delete;
  ComputeThreads& operator=(const ComputeThreads&) = delete;

  [[nodiscard]] int most() const { return count_.most(); }
  [[nodiscard]] int now() const { return count_.now(); }
  /// The pool of most() threads, or of those that are left of them: for ggml_graph_plan().
  [[nodiscard]] ggml_threadpool* pool() const { return pool_; }
  /// Whether stretches should be short, so that a mistake costs little.
  [[nodiscard]] bool on_trial() const { return count_.on_trial(); }

  /// `backend`, one of ggml's CPU back ends, computes next with `wanted` threads, or with now() where that is
  /// less.
  void prepare(ggml_backend_t backend, int wanted);
  /// As prepare(), with the same number wanted as at its last call.
  void again(ggml_backend_t backend) { prepare(backend, wanted_); }
  /// Whether now() is less than the last prepare() wanted.
  [[nodiscard]] bool has_fewer() const { return now() < wanted_; }
  /// As again(), with all the threads that were wanted, even where some are taken back: for a node whose bits
  /// depend on their number.
  void all_again(ggml_backend_t backend);
  /// A stretch has ended that the back end of the last prepare() or again() computed.
  void computed(ThreadCount::Time begin, ThreadCount::Time end);
  /// `backend` ends.
  void forget(ggml_backend_t backend);

  /// For tests: takes threads back, or gives them again, as if the processors had been observed so.
  void compute_with(int threads);

 private:
  explicit ComputeThreads(int most) : count_(most) {}
  struct Thread {
    pid_t id = 0;
    int schedule = -1;                // descriptor of /proc/self/task/ID/schedstat; -1 where there is none
    ThreadCount::Duration waited{0};  // at the last look
  };
  [[nodiscard]] Status make_pool(int threads);
  void free_pool();
  void find_threads(int threads);
  void close_threads();
  void look_at(Thread& thread, pid_t id);
  void observe(ThreadCount::Time time);
  [[nodiscard]] std::optional<double> idle_processors(ThreadCount::Time time);
  [[nodiscard]] bool was_throttled();

  ThreadCount count_;
  ggml_threadpool* alone_ = nullptr;  // of the caller only: it has no thread of its own
  ggml_threadpool* pool_ = nullptr;   // of pool_threads_
  int pool_threads_ = 0;
  ggml_threadpool* whole_ = nullptr;  // of most(), for all_again() where pool_ has fewer; made when needed
  bool with_all_ = false;             // all_again() came last: what the stretch takes tells nothing
  int wanted_ = 1;                    // of the last prepare()
  int used_ = 1;                      // threads of the stretch that is computed
  std::vector<ggml_backend_t> backends_;  // that know a pool
  std::vector<Thread> threads_;           // of pool_
  ThreadCount::Duration seen_{0};         // computed since the last look
  int seen_threads_ = 0;                  // with this many; 0: mixed
  std::vector<std::uint32_t> processors_;
  std::uint64_t idle_before_ = 0;  // clock ticks, of all processors_
  ThreadCount::Time idle_at_{};
  bool has_quota_ = false;
  std::uint64_t throttled_before_ = 0;
};

}  // namespace brimful::tier
