#pragma once

#include <ggml-backend.h>

#include <array>
#include <atomic>
#include <condition_variable>
#include <deque>
#include <memory>
#include <mutex>
#include <vector>

#include "memory/region.h"
#include "tier/experts/expert_loans.h"
#include "tier/gpu/copy_queue.h"
#include "tier/gpu/turning_threads.h"
#include "tier/io/range_reader.h"
#include "tier/layout/file_order.h"
#include "tier/weights/weight_table.h"

namespace brimful::tier {

/// Brings bytes of a model's files into a device's memory: from host memory where they lie there, as resident
/// weights or as experts in slots, otherwise from disk through a small buffer in host memory. What lies in
/// host memory in the layout of ggml-cpu's kernels is turned back to the file's on its way through that
/// buffer. To a Streamer it is a DiskReader like any other, with two differences: offsets and sizes need
/// not be multiples of DiskFiles::kBlock, and targets are addresses in the device's buffer. Threading: as for
/// DiskReader. The device must allow one thread to send while another one computes.
class UploadReader final : public DiskReader {
 public:
  /// Largest number of reads in flight.
  static constexpr std::size_t kDepth = 4;
  /// Largest size of a read, in bytes.
  static constexpr std::uint64_t kLargestRead = 2ULL << 20;
  /// Bytes of the buffer in host memory.
  [[nodiscard]] static Bytes staging_bytes();

  /// `table` says what lies in host memory; it must be filled. `disk` reads the rest, through `staging`,
  /// which has staging_bytes(). `experts` lends what is in slots; null where no experts are. `target` is a
  /// tensor of bytes that covers the device's buffer. `queue` has kDepth places and copies what lies in host
  /// memory; with null, each of these copies blocks. `threads` turn back what is repacked; with null, the
  /// calling thread does. `from_disk` grows by the bytes that the disk is asked for. All of them must outlive
  /// the reader.
  UploadReader(const WeightTable& table, ExpertLoans* experts, std::unique_ptr<DiskReader> disk,
               std::byte* staging, ggml_tensor* target, CopyQueue* queue, TurningThreads* threads,
               std::atomic<std::uint64_t>& from_disk);
  ~UploadReader() override;

  void submit(const BlockRead& read) override;
  BlockDone wait() override;
  [[nodiscard]] std::size_t in_flight() const override { return sent_.size() + disk_->in_flight(); }
  [[nodiscard]] std::size_t depth() const override { return std::min(kDepth, disk_->depth()); }
  [[nodiscard]] std::string_view name() const override { return disk_->name(); }

 private:
  // A copy from host memory that wait() has not returned yet.
  struct Sent {
    std::uint64_t tag = 0;
    std::size_t place = 0;
    std::optional<ExpertLoans::Loan> expert;
    // The buffer in which the bytes are turned back; null where the copy is made from the weight itself.
    std::byte* buffer = nullptr;
  };
  // What is turned back for a copy, and where it goes.
  struct Turning {
    InterleavedRows rows;
    std::uint64_t begin = 0;
    std::uint64_t size = 0;
    std::byte* buffer = nullptr;
    // In target_.
    std::size_t offset = 0;
    // Guarded by mutex_. While it is set, nobody but the thread that turns back uses the other fields.
    bool running = false;
  };

  [[nodiscard]] std::size_t offset_of(const BlockRead& read) const;
  void turn_back(const Sent& sent, const WeightTable::Stretch& stretch, const BlockRead& read);
  void turn_back_place(std::size_t place);
  void copy(std::size_t place, const std::byte* bytes, std::size_t offset, std::uint64_t size);
  void finish(const Sent& sent);

  const WeightTable& table_;
  ExpertLoans* const experts_;
  const std::unique_ptr<DiskReader> disk_;
  RangeReader ranges_;
  ggml_tensor* const target_;
  CopyQueue* const queue_;
  TurningThreads* const threads_;
  std::atomic<std::uint64_t>& from_disk_;
  std::size_t next_place_ = 0;
  // In the order of submission.
  std::deque<Sent> sent_;
  // Indexed by place.
  std::array<Turning, kDepth> turning_;
  std::mutex mutex_;
  std::condition_variable turned_back_;
  // Held for each call that starts a copy.
  std::mutex queue_mutex_;
};

}  // namespace brimful::tier
