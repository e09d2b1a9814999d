#include <fmt/format.h>
#include <liburing.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <vector>

#include "base/check.h"
#include "tier/io/reader_impl.h"

namespace brimful::tier {
namespace {

/// Reads with io_uring.
class UringReader final : public DiskReader {
 public:
  UringReader(const DiskFiles& files, std::size_t depth) : files_(files), blocks_(depth) {
    for (std::size_t i = depth; i-- > 0;) free_.push_back(i);
  }

  ~UringReader() override {
    while (ready_ && in_flight() > 0) static_cast<void>(wait());  // the kernel may still write to the targets
    if (ready_) ::io_uring_queue_exit(&ring_);
  }

  /// Returns 0 or -errno.
  int start() {
    // Completions are only looked at when the reader waits for them: the kernel need not interrupt it before.
    int result =
        ::io_uring_queue_init(static_cast<unsigned>(blocks_.size()), &ring_, IORING_SETUP_COOP_TASKRUN);
    if (result == -EINVAL) {  // Linux before 5.19
      result = ::io_uring_queue_init(static_cast<unsigned>(blocks_.size()), &ring_, 0);
    }
    ready_ = result == 0;
    return result;
  }

  void submit(const BlockRead& read) override {
    BRIMFUL_CHECK(!free_.empty());
    const std::size_t slot = free_.back();
    free_.pop_back();
    blocks_[slot] = BlockState{read};
    send(slot);
  }

  BlockDone wait() override {
    BRIMFUL_CHECK(in_flight() > 0);
    if (!refused_.empty()) {
      const std::size_t slot = refused_.back();
      refused_.pop_back();
      free_.push_back(slot);
      return BlockDone{
          blocks_[slot].read.tag,
          fail(ErrorCode::kIo,
               fmt::format("{}: io_uring accepts no more reads: {}; read with threads",
                           files_.files()[blocks_[slot].read.file].path, std::strerror(broken_)))};
    }
    for (;;) {
      io_uring_cqe* cqe = nullptr;
      const int waited = ::io_uring_wait_cqe(&ring_, &cqe);
      if (waited == -EINTR) continue;
      BRIMFUL_CHECK(waited == 0);
      const auto slot = static_cast<std::size_t>(::io_uring_cqe_get_data64(cqe));
      const int result = cqe->res;
      ::io_uring_cqe_seen(&ring_, cqe);
      BlockState& block = blocks_[slot];
      auto ended = finish_block(files_.files()[block.read.file], block, result);
      if (!ended) {
        send(slot);
        continue;
      }
      free_.push_back(slot);
      return BlockDone{block.read.tag, std::move(*ended)};
    }
  }

  [[nodiscard]] bool has_ended() const override {
    return !refused_.empty() || ::io_uring_cq_ready(&ring_) > 0;
  }
  [[nodiscard]] std::size_t in_flight() const override { return blocks_.size() - free_.size(); }
  [[nodiscard]] std::size_t depth() const override { return blocks_.size(); }
  [[nodiscard]] std::string_view name() const override { return "io_uring"; }

 private:
  void send(std::size_t slot) {
    if (broken_ != 0) {
      refused_.push_back(slot);
      return;
    }
    const BlockState& block = blocks_[slot];
    io_uring_sqe* const sqe = ::io_uring_get_sqe(&ring_);
    BRIMFUL_CHECK(sqe != nullptr);  // the ring has an entry for each block, and each is submitted at once
    ::io_uring_prep_read(sqe, files_.files()[block.read.file].fd, block.read.target + block.done,
                         static_cast<unsigned>(block.read.size - block.done), block.read.offset + block.done);
    ::io_uring_sqe_set_data64(sqe, slot);
    int submitted = ::io_uring_submit(&ring_);
    for (int retry = 0; retry < 1000 && submitted < 0; ++retry) {
      if (submitted != -EINTR && submitted != -EAGAIN && submitted != -EBUSY) break;
      if (submitted != -EINTR) ::usleep(1000);  // the kernel is short of memory for now
      submitted = ::io_uring_submit(&ring_);
    }
    if (submitted >= 0) return;
    broken_ = -submitted;
    refused_.push_back(slot);
  }

  const DiskFiles& files_;
  io_uring ring_{};
  bool ready_ = false;
  std::vector<BlockState> blocks_;
  std::vector<std::size_t> free_;
  // Blocks that never reached the kernel.
  std::vector<std::size_t> refused_;
  // The errno of a submission that failed: from then on, the ring takes no more reads. 0: none failed.
  int broken_ = 0;
};

}  // namespace

Result<std::unique_ptr<DiskReader>> make_uring_reader(const DiskFiles& files, std::size_t depth) {
  auto reader = std::make_unique<UringReader>(files, depth);
  if (const int error = reader->start(); error != 0) {
    return fail(ErrorCode::kUnsupported,
                fmt::format("io_uring is not available here: {}", std::strerror(-error)));
  }
  return std::unique_ptr<DiskReader>(std::move(reader));
}

}  // namespace brimful::tier
