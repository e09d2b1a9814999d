#pragma once

#include <deque>
#include <memory>
#include <optional>
#include <vector>

#include "tier/io/disk_reader.h"

namespace brimful::tier {

/// A stretch of a file that may begin at any byte, and the memory that it is read to.
struct PartRead {
  /// Index into DiskFiles::files().
  std::uint32_t file = 0;
  /// Bytes from the start of the file; any value.
  std::uint64_t offset = 0;
  /// Length of the stretch.
  Bytes bytes;
  /// Address at which the first byte of the stretch lies once the part has been read.
  std::byte* data = nullptr;
  /// Memory of plan::region_of(bytes) bytes, aligned to DiskFiles::kBlock, that the whole blocks around the
  /// stretch may be read to. With null, they are read to a bounce buffer and copied to `data`.
  std::byte* region = nullptr;
  /// Counter of outstanding parts: queue() adds 1, and 1 is subtracted when the part has been read, has
  /// failed or was dropped. It must outlive the read.
  std::uint32_t* left = nullptr;
};

/// Reads many parts at once, with direct reads of whole blocks. Where the blocks put a stretch at another
/// address than PartRead::data, the reader moves it there.
/// Threading: one thread at a time. Reads that were submitted go on between the calls.
class PartReader {
 public:
  /// Number of reads in flight for which callers make the DiskReader.
  static constexpr std::size_t kDepth = 128;

  /// `buffers` is the memory of plan::kBounceBuffers bounce buffers, `size` bytes in all, for parts without a
  /// region. It must outlive the reader. With a `size` of 0 every part needs a region.
  PartReader(std::unique_ptr<DiskReader> reader, std::byte* buffers, Bytes size);
  ~PartReader();

  /// Submits the part, or keeps it until a read and, if it needs one, a bounce buffer are free.
  void queue(const PartRead& part);

  /// Blocks until `left` is 0. Errors: the first error of any part since the last drain(); after an error,
  /// parts may still be in flight, and only drain() ends that state.
  [[nodiscard]] Status wait(const std::uint32_t& left);

  /// Blocks until one more part has been read. Errors: as wait(). Requires: at least one part is in flight.
  [[nodiscard]] Status wait_for_one();

  /// Takes note of the parts whose reads have ended, and submits others. Never blocks. Errors come with the
  /// next wait.
  void poll();

  /// Drops the parts that were not submitted, waits for those in flight and forgets the error. Afterwards
  /// every counter `left` is 0.
  void drain();

  /// Bytes that all reads so far asked for, in whole blocks.
  [[nodiscard]] Bytes bytes_read() const { return bytes_read_; }

 private:
  void submit();
  void take_one();

  std::unique_ptr<DiskReader> reader_;
  /// A part in flight, and its bounce buffer (null if it has a region).
  struct Flight {
    PartRead part;
    std::byte* bounce_buffer = nullptr;
  };
  std::deque<PartRead> queued_;
  // Indexed by tag.
  std::vector<Flight> in_flight_;
  // Tags that no read uses.
  std::vector<std::uint32_t> free_;
  // Bounce buffers that no read uses.
  std::vector<std::byte*> bounce_buffers_;
  std::optional<Error> error_;
  Bytes bytes_read_;
};

}  // namespace brimful::tier
