#include "tier/host/compute_threads.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <ggml-cpu.h>
#include <ggml-impl.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <cstring>
#include <ctime>
#include <optional>
#include <utility>

#include "hardware/compute_threads.h"
#include "hardware/cpu.h"

namespace brimful::tier {
namespace {

// How long (of 100) a thread polls between two segments before it sleeps. Segments follow one another
// closely, but a thread that spins while the compute waits for the disk takes a core from the reader.
constexpr std::uint32_t kPoll = 2;

ggml_threadpool* new_pool(int threads) {
  ggml_threadpool_params params = ggml_threadpool_params_default(threads);
  params.poll = kPoll;
  return ggml_threadpool_new(&params);
}

/// The function of a node that every thread of a pool takes part in: each thread writes its id.
void leave_id(ggml_tensor* node, int thread, int, void*) {
  static_cast<std::int32_t*>(node->data)[thread] = ::gettid();
}

/// What the kernel counts for a thread.
struct Schedule {
  ThreadCount::Duration ran{0};
  // The time that it was ready to run and had no processor.
  ThreadCount::Duration waited{0};
};

/// Unset where the kernel does not count that.
std::optional<Schedule> read_schedule(int file) {
  std::array<char, 64> text{};
  const ssize_t got = ::pread(file, text.data(), text.size(), 0);
  if (got <= 0) return std::nullopt;
  const char* const end = text.data() + got;  // `RAN WAITED SLICES`, in nanoseconds
  std::int64_t ran = 0;
  std::int64_t waited = 0;
  const auto [at, error] = std::from_chars(static_cast<const char*>(text.data()), end, ran);
  if (error != std::errc{} || at == end || std::from_chars(at + 1, end, waited).ec != std::errc{})
    return std::nullopt;
  return Schedule{ThreadCount::Duration{ran}, ThreadCount::Duration{waited}};
}

/// The processor time that all threads of this process have used.
ThreadCount::Duration own_time() {
  timespec time{};
  ::clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &time);
  return std::chrono::seconds{time.tv_sec} + std::chrono::nanoseconds{time.tv_nsec};
}

}  // namespace

Result<std::unique_ptr<ComputeThreads>> ComputeThreads::create(int most) {
  std::unique_ptr<ComputeThreads> out(new ComputeThreads(most));
  out->processors_ = hardware::allowed_processors();
  out->has_quota_ = hardware::read_cpu_quota().has_value();
  if (out->has_quota_) out->throttled_before_ = hardware::read_times_throttled();
  out->alone_ = new_pool(1);
  if (out->alone_ == nullptr) return fail(ErrorCode::kInternal, "cannot make a pool of compute threads");
  BRIMFUL_TRY_VOID(out->make_pool(most));
  return out;
}

ComputeThreads::~ComputeThreads() {
  free_pool();
  if (whole_ != nullptr) ggml_threadpool_free(whole_);
  if (alone_ != nullptr) ggml_threadpool_free(alone_);
}

Status ComputeThreads::make_pool(int threads) {
  free_pool();
  pool_ = new_pool(threads);
  if (pool_ == nullptr)
    return fail(ErrorCode::kInternal, fmt::format("cannot start {} compute threads", threads));
  pool_threads_ = threads;
  find_threads(threads);
  return {};
}

/// Frees pool_. Before that, every backend gets another pool: none may keep one that is gone.
void ComputeThreads::free_pool() {
  if (pool_ == nullptr) return;
  for (ggml_backend_t const backend : backends_) {
    ggml_backend_cpu_set_threadpool(backend, alone_);
    ggml_backend_cpu_set_n_threads(backend, 1);
  }
  ggml_threadpool_free(pool_);
  pool_ = nullptr;
  close_threads();
}

void ComputeThreads::close_threads() {
  for (const Thread& thread : threads_) {
    if (thread.schedule >= 0) ::close(thread.schedule);
  }
  threads_.clear();
}

void ComputeThreads::find_threads(int threads) {
  threads_.resize(static_cast<std::size_t>(threads));
  std::vector<std::int32_t> ids(threads_.size(), 0);
  ggml_tensor node{};
  node.type = GGML_TYPE_I32;
  node.op = GGML_OP_CUSTOM;
  node.flags = GGML_TENSOR_FLAG_COMPUTE;
  node.ne[0] = threads;
  node.ne[1] = node.ne[2] = node.ne[3] = 1;
  node.nb[0] = sizeof(std::int32_t);
  node.nb[1] = node.nb[2] = node.nb[3] = node.nb[0] * ids.size();
  node.data = ids.data();
  const ggml_custom_op_params params{leave_id, GGML_N_TASKS_MAX, nullptr};
  static_assert(sizeof params <= sizeof node.op_params);
  std::memcpy(node.op_params, &params, sizeof params);
  ggml_tensor* nodes[] = {&node};
  ggml_cgraph graph{};
  graph.n_nodes = 1;
  graph.nodes = nodes;
  ggml_cplan plan = ggml_graph_plan(&graph, threads, pool_);
  if (ggml_graph_compute(&graph, &plan) != GGML_STATUS_SUCCESS) return;
  for (std::size_t i = 0; i < threads_.size(); ++i) look_at(threads_[i], ids[i]);
}

void ComputeThreads::look_at(Thread& thread, pid_t id) {
  if (thread.schedule >= 0) ::close(thread.schedule);
  thread.id = id;
  thread.schedule =
      id > 0 ? ::open(fmt::format("/proc/self/task/{}/schedstat", id).c_str(), O_RDONLY | O_CLOEXEC) : -1;
  const Schedule now = read_schedule(thread.schedule).value_or(Schedule{});
  thread.ran = now.ran;
  thread.waited = now.waited;
}

void ComputeThreads::prepare(ggml_backend_t backend, int wanted) {
  with_all_ = false;
  wanted_ = wanted;
  const bool fits = now() == 1 || pool_threads_ == now() || make_pool(now()).has_value();
  used_ = fits ? std::min(wanted, now()) : 1;
  if (std::ranges::find(backends_, backend) == backends_.end()) backends_.push_back(backend);
  // Threads of a pool that have no part in a graph wake for it all the same, and spin. So a single thread
  // computes with a pool of its own.
  ggml_backend_cpu_set_threadpool(backend, used_ == 1 ? alone_ : pool_);
  ggml_backend_cpu_set_n_threads(backend, used_);
}

void ComputeThreads::all_again(ggml_backend_t backend) {
  ggml_threadpool* pool = pool_;
  if (pool_threads_ < wanted_) {
    if (whole_ == nullptr) whole_ = new_pool(most());
    pool = whole_;
  }
  // Without a pool, ggml makes one for this graph: that is slower, and gives the same bits.
  ggml_backend_cpu_set_threadpool(backend, pool);
  ggml_backend_cpu_set_n_threads(backend, wanted_);
  with_all_ = true;
}

void ComputeThreads::forget(ggml_backend_t backend) { std::erase(backends_, backend); }

void ComputeThreads::computed(ThreadCount::Time begin, ThreadCount::Time end) {
  if (most() == 1 || with_all_) return;
  seen_threads_ = seen_ == ThreadCount::Duration{0} || seen_threads_ == used_ ? used_ : 0;
  seen_ += end - begin;
  if (seen_ >= count_.window()) observe(end);
  if (count_.wants_idle(end)) count_.processors_idle(end, idle_processors(end));
}

void ComputeThreads::observe(ThreadCount::Time time) {
  if (!threads_.empty() && threads_.front().id != ::gettid()) look_at(threads_.front(), ::gettid());
  ThreadCount::Observation seen{.threads = seen_threads_, .wall = seen_};
  const ThreadCount::Duration own = own_time();
  ThreadCount::Duration others = own - std::exchange(own_before_, own);
  for (std::size_t i = 0; i < threads_.size(); ++i) {
    const auto now = read_schedule(threads_[i].schedule);
    if (!now) continue;
    others -= now->ran - std::exchange(threads_[i].ran, now->ran);
    const ThreadCount::Duration more = now->waited - std::exchange(threads_[i].waited, now->waited);
    if (i >= static_cast<std::size_t>(used_)) continue;
    seen.longest_wait = std::max(seen.longest_wait, more);
    seen.all_waits += more;
  }
  const std::chrono::duration<double> passed = time - looked_at_;
  looked_at_ = time;
  seen.own_others = std::chrono::duration<double>(others).count() / std::max(passed.count(), 1e-3);
  seen_ = ThreadCount::Duration{0};
  // A quota stops all threads at the same time. Then none of them waits for another.
  if (was_throttled() || seen.threads == 0) return;
  count_.computed(time, seen);
  if (count_.now() < seen_threads_)
    static_cast<void>(idle_processors(time));  // idle time counts from here on
}

/// The number of processors_ that were idle since the last call, on average.
std::optional<double> ComputeThreads::idle_processors(ThreadCount::Time time) {
  const auto ticks = hardware::read_idle_ticks(processors_);
  if (!ticks) return std::nullopt;
  const std::chrono::duration<double> passed = time - idle_at_;
  const auto more = static_cast<double>(*ticks - std::min(*ticks, idle_before_));
  idle_before_ = *ticks;
  idle_at_ = time;
  return more / static_cast<double>(::sysconf(_SC_CLK_TCK)) / std::max(passed.count(), 1e-3);
}

bool ComputeThreads::was_throttled() {
  if (!has_quota_) return false;
  const std::uint64_t now = hardware::read_times_throttled();
  return std::exchange(throttled_before_, now) != now;
}

void ComputeThreads::compute_with(int threads) { count_.set(threads); }

}  // namespace brimful::tier
