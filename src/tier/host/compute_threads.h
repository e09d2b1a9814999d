#pragma once

#include <ggml-backend.h>
#include <sys/types.h>

#include <memory>
#include <vector>

#include "base/result.h"
#include "tier/host/thread_count.h"

struct ggml_threadpool;

namespace brimful::tier {

/// The threads that compute, all of one ggml thread pool, and the number of them that compute at the moment.
///
/// Callers wrap each stretch of a graph: again(), then the computation, then computed(). From the waits that
/// the kernel counts for each thread, ThreadCount decides how many threads compute next. A thread that is
/// taken back sleeps.
/// Threading: only the thread that computes calls this class. Lifetime: it must outlive the backends given to
/// it, unless forget() is called for them.
class ComputeThreads {
 public:
  /// Starts `most` - 1 threads: the thread that computes a graph is the first one. `most` is at least 1.
  /// Errors: kInternal where the system gives no more threads.
  [[nodiscard]] static Result<std::unique_ptr<ComputeThreads>> create(int most);
  ~ComputeThreads();
  ComputeThreads(const ComputeThreads&) = delete;
  ComputeThreads& operator=(const ComputeThreads&) = delete;

  /// The largest number of threads.
  [[nodiscard]] int most() const { return count_.most(); }
  /// The number of threads that compute at the moment.
  [[nodiscard]] int now() const { return count_.now(); }
  /// The pool, for ggml_graph_plan(). It has most() threads, or fewer once some were taken back.
  [[nodiscard]] ggml_threadpool* pool() const { return pool_; }
  /// Whether stretches should be short, so that a mistake costs little.
  [[nodiscard]] bool on_trial() const { return count_.on_trial(); }

  /// Sets the threads of `backend`, one of ggml's CPU backends, for its next computation: `wanted` of them,
  /// or now() where that is less.
  void prepare(ggml_backend_t backend, int wanted);
  /// Like prepare(), with the number of threads that was wanted at its last call.
  void again(ggml_backend_t backend) { prepare(backend, wanted_); }
  /// Whether now() is less than the last prepare() wanted.
  [[nodiscard]] bool has_fewer() const { return now() < wanted_; }
  /// Like again(), but with all threads that were wanted, even where some are taken back: for a node whose
  /// bits depend on their number.
  void all_again(ggml_backend_t backend);
  /// Tells that the backend of the last prepare() or again() has computed a stretch, from `begin` to `end`.
  void computed(ThreadCount::Time begin, ThreadCount::Time end);
  /// Call this before `backend` is freed.
  void forget(ggml_backend_t backend);

  /// For tests: takes threads back, or gives them again, as if the observed processors were the reason.
  void compute_with(int threads);

 private:
  explicit ComputeThreads(int most) : count_(most) {}
  struct Thread {
    pid_t id = 0;
    // Descriptor of /proc/self/task/ID/schedstat; -1 where there is none.
    int schedule = -1;
    // What the file said at the last look.
    ThreadCount::Duration ran{0};
    ThreadCount::Duration waited{0};
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
  // A pool of the caller only: it has no thread of its own.
  ggml_threadpool* alone_ = nullptr;
  // A pool of pool_threads_ threads.
  ggml_threadpool* pool_ = nullptr;
  int pool_threads_ = 0;
  // A pool of most() threads, for all_again() where pool_ has fewer. Null until it is needed.
  ggml_threadpool* whole_ = nullptr;
  // Whether all_again() came last: then the time of the stretch tells nothing about now().
  bool with_all_ = false;
  // Threads wanted at the last prepare().
  int wanted_ = 1;
  // Threads of the current stretch.
  int used_ = 1;
  // The backends that know one of the pools.
  std::vector<ggml_backend_t> backends_;
  // The threads of pool_.
  std::vector<Thread> threads_;
  // Time computed since the last look.
  ThreadCount::Duration seen_{0};
  // The number of threads during that time; 0 if it changed.
  int seen_threads_ = 0;
  // The last look, and the processor time of the process then.
  ThreadCount::Time looked_at_{};
  ThreadCount::Duration own_before_{0};
  // The processors that this process may use.
  std::vector<std::uint32_t> processors_;
  // Idle time of all processors_ at the last look, in clock ticks.
  std::uint64_t idle_before_ = 0;
  // When idle_before_ was read.
  ThreadCount::Time idle_at_{};
  // Whether a cgroup limits the processor time.
  bool has_quota_ = false;
  // How often the quota had stopped the process at the last look.
  std::uint64_t throttled_before_ = 0;
};

}  // namespace brimful::tier
