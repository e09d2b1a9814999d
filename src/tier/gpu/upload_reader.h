#pragma once

#include <ggml-backend.h>

#include <atomic>
#include <deque>
#include <memory>
#include <vector>

#include "memory/region.h"
#include "tier/gpu/copy_queue.h"
#include "tier/io/range_reader.h"
#include "tier/weights/weight_table.h"

namespace brimful::tier {

/// Brings bytes of a model's files into a device's memory: from the host's memory where they lie there in the
/// file's order, else from disk through a little host memory. To a Streamer it is a reader like any
/// other, but for this: offsets and sizes need not be multiples of DiskFiles::kBlock, and targets are
/// addresses in the device's buffer. Threading: as a DiskReader; the device must allow one thread to send
/// while another computes.
class UploadReader final : public DiskReader {
 public:
  static constexpr std::size_t kDepth = 4;
  static constexpr std::uint64_t kLargestRead = 2ULL << 20;
  /// Host memory that it needs.
  [[nodiscard]] static Bytes staging_bytes();

  /// `target` is a tensor of bytes that covers the device's buffer. `queue` has kDepth places, for what lies
  /// in the host's memory; null: each copy is waited for at once. `from_disk` grows by what the disk is asked
  /// for. All outlive the reader; `table` is filled.
  UploadReader(const WeightTable& table, std::unique_ptr<DiskReader> disk, std::byte* staging,
               ggml_tensor* target, CopyQueue* queue, std::atomic<std::uint64_t>& from_disk);
  ~UploadReader() override;

  void submit(const BlockRead& read) override;
  BlockDone wait() override;
  [[nodiscard]] std::size_t in_flight() const override { return sent_.size() + disk_->in_flight(); }
  [[nodiscard]] std::size_t depth() const override { return std::min(kDepth, disk_->depth()); }
  [[nodiscard]] std::string_view name() const override { return disk_->name(); }

 private:
  struct Sent {
    std::uint64_t tag;
    std::size_t place;
  };

  [[nodiscard]] std::size_t offset_of(const BlockRead& read) const;

  const WeightTable& table_;
  const std::unique_ptr<DiskReader> disk_;
  RangeReader ranges_;
  ggml_tensor* const target_;
  CopyQueue* const queue_;
  std::atomic<std::uint64_t>& from_disk_;
  std::size_t next_place_ = 0;
  std::deque<Sent> sent_;  // in order
};

}  // namespace brimful::tier
