#pragma once

#include <ggml-backend.h>

#include <atomic>
#include <deque>
#include <memory>
#include <vector>

#include "memory/region.h"
#include "tier/experts/expert_loans.h"
#include "tier/gpu/copy_queue.h"
#include "tier/io/range_reader.h"
#include "tier/weights/weight_table.h"

namespace brimful::tier {

/// Brings bytes of a model's files into a device's memory: from host memory where they lie there in the
/// file's layout, as resident weights or as experts in slots, otherwise from disk through a small buffer in
/// host memory. To a Streamer it is a DiskReader like any other, with two differences: offsets and sizes need
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
  /// which has staging_bytes(). `experts` lends what is in slots; null where no experts are, or where they
  /// are not in the file's layout. `target` is a tensor of bytes that covers the device's buffer. `queue` has
  /// kDepth places and copies what lies in host memory; with null, each of these copies blocks. `from_disk`
  /// grows by the bytes that the disk is asked for. All of them must outlive the reader.
  UploadReader(const WeightTable& table, ExpertLoans* experts, std::unique_ptr<DiskReader> disk,
               std::byte* staging, ggml_tensor* target, CopyQueue* queue,
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
  };

  [[nodiscard]] std::size_t offset_of(const BlockRead& read) const;
  void finish(const Sent& sent);

  const WeightTable& table_;
  ExpertLoans* const experts_;
  const std::unique_ptr<DiskReader> disk_;
  RangeReader ranges_;
  ggml_tensor* const target_;
  CopyQueue* const queue_;
  std::atomic<std::uint64_t>& from_disk_;
  std::size_t next_place_ = 0;
  // In the order of submission.
  std::deque<Sent> sent_;
};

}  // namespace brimful::tier
