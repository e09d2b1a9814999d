#pragma once

#include <vector>

#include "tier/io/disk_reader.h"

namespace brimful::tier {

/// Reads stretches of files that may begin and end at any byte: it reads the whole blocks around a stretch to
/// buffers of its own memory. Threading: as DiskReader.
class RangeReader {
 public:
  /// A stretch that has been read, or could not be.
  struct Done {
    /// The argument of submit().
    BlockRead range;
    Status status;
    /// The first byte of the stretch. The bytes stay valid until the next submit().
    const std::byte* bytes = nullptr;
  };

  /// Memory for `count` stretches in flight, each of at most `largest` bytes.
  [[nodiscard]] static constexpr Bytes memory_bytes(std::size_t count, std::uint64_t largest) {
    return Bytes{count * block_bytes(largest)};
  }

  /// `reader` must have nothing in flight, and nobody else may use it during the lifetime of this object.
  /// `memory` has memory_bytes(count, largest) bytes and begins at a multiple of DiskFiles::kBlock. Both must
  /// outlive this object.
  RangeReader(DiskReader& reader, std::byte* memory, std::size_t count, std::uint64_t largest);

  /// Takes a free buffer for the caller's own use, until give_back(). It has room for `largest` bytes.
  /// Requires: !full().
  [[nodiscard]] std::byte* take_buffer() {
    const std::size_t block = free_.back();
    free_.pop_back();
    return memory_ + block * block_;
  }
  void give_back(const std::byte* buffer) {
    free_.push_back(static_cast<std::size_t>(buffer - memory_) / block_);
  }
  /// Whether no buffer is free, so that submit() must not be called before wait().
  [[nodiscard]] bool full() const { return free_.empty(); }
  /// The number of stretches that were submitted and that wait() has not returned yet.
  [[nodiscard]] std::size_t in_flight() const { return reader_.in_flight(); }
  /// Starts to read `range`. Its offset and size may have any value up to `largest` bytes; its target and tag
  /// are only returned by wait(). Returns the bytes that the disk is asked for, in whole blocks. Requires:
  /// !full().
  Bytes submit(const BlockRead& range);
  /// Blocks until a stretch has been read or has failed. Requires: in_flight() > 0.
  [[nodiscard]] Done wait();

 private:
  /// Size of one buffer: a stretch of `largest` bytes touches at most this many bytes of whole blocks.
  [[nodiscard]] static constexpr std::uint64_t block_bytes(std::uint64_t largest) {
    return align_up(largest, DiskFiles::kBlock) + DiskFiles::kBlock;
  }

  DiskReader& reader_;
  std::byte* const memory_;
  // Bytes of one buffer.
  const std::uint64_t block_;
  // Indexed by buffer.
  std::vector<BlockRead> ranges_;
  // Buffers that no read uses.
  std::vector<std::size_t> free_;
};

}  // namespace brimful::tier
