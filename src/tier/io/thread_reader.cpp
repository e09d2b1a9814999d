#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <condition_variable>
#include <deque>
#include <mutex>
#include <system_error>
#include <thread>

#include "base/check.h"
#include "tier/io/reader_impl.h"

namespace brimful::tier {
namespace {

// More reads at once gain nothing on the disks that were measured, and each thread costs memory.
constexpr std::size_t kWorkers = 4;

/// The fallback where io_uring is forbidden: a few threads, each of which reads one block at a time.
class ThreadReader final : public DiskReader {
 public:
  ThreadReader(const DiskFiles& files, std::size_t depth) : files_(files), depth_(depth) {}

  Status start() {
    try {
      for (std::size_t i = 0; i < std::min(depth_, kWorkers); ++i) workers_.emplace_back([this] { work(); });
    } catch (const std::system_error& error) {
      return fail(ErrorCode::kInternal, std::string("cannot start a reader thread: ") + error.what());
    }
    return {};
  }

  ~ThreadReader() override {
    {
      const std::lock_guard lock(mutex_);
      stop_ = true;
    }
    queued_.notify_all();
    for (std::thread& worker : workers_) worker.join();
  }

  void submit(const BlockRead& read) override {
    {
      const std::lock_guard lock(mutex_);
      BRIMFUL_CHECK(in_flight_ < depth_);
      ++in_flight_;
      queue_.push_back(read);
    }
    queued_.notify_one();
  }

  BlockDone wait() override {
    std::unique_lock lock(mutex_);
    BRIMFUL_CHECK(in_flight_ > 0);
    ended_.wait(lock, [&] { return !done_.empty(); });
    BlockDone done = std::move(done_.front());
    done_.pop_front();
    --in_flight_;
    return done;
  }

  [[nodiscard]] bool has_ended() const override {
    const std::lock_guard lock(mutex_);
    return !done_.empty();
  }
  [[nodiscard]] std::size_t in_flight() const override {
    const std::lock_guard lock(mutex_);
    return in_flight_;
  }
  [[nodiscard]] std::size_t depth() const override { return depth_; }
  [[nodiscard]] std::string_view name() const override { return "threads"; }

 private:
  void work() {
    std::unique_lock lock(mutex_);
    for (;;) {
      queued_.wait(lock, [&] { return stop_ || !queue_.empty(); });
      if (queue_.empty()) return;
      const BlockRead read = queue_.front();
      queue_.pop_front();
      lock.unlock();
      Status status = run(read);
      lock.lock();
      done_.push_back(BlockDone{read.tag, std::move(status)});
      ended_.notify_one();
    }
  }

  [[nodiscard]] Status run(const BlockRead& read) const {
    const DiskFiles::File& file = files_.files()[read.file];
    BlockState state{read};
    for (;;) {
      const ::ssize_t got = ::pread(file.fd, read.target + state.done, read.size - state.done,
                                    static_cast<::off_t>(read.offset + state.done));
      if (auto ended = finish_block(file, state, got < 0 ? -errno : got)) return std::move(*ended);
    }
  }

  const DiskFiles& files_;
  const std::size_t depth_;
  mutable std::mutex mutex_;
  std::condition_variable queued_;
  std::condition_variable ended_;
  std::deque<BlockRead> queue_;
  std::deque<BlockDone> done_;
  std::size_t in_flight_ = 0;
  bool stop_ = false;
  std::vector<std::thread> workers_;
};

}  // namespace

Result<std::unique_ptr<DiskReader>> make_thread_reader(const DiskFiles& files, std::size_t depth) {
  auto reader = std::make_unique<ThreadReader>(files, depth);
  BRIMFUL_TRY_VOID(reader->start());
  return std::unique_ptr<DiskReader>(std::move(reader));
}

}  // namespace brimful::tier
