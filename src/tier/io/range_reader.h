#pragma once

#include <vector>

#include "tier/io/disk_reader.h"

namespace brimful::tier {

/// Reads stretches of files that begin and end anywhere, through blocks of memory. Threading: as DiskReader.
class RangeReader {
 public:
  struct Done {
    BlockRead range;
    Status status;
    const std::byte* bytes = nullptr;  ///< until the next submit()
  };

  /// Memory for `count` ranges at once, of `largest` bytes at most.
  [[nodiscard]] static constexpr Bytes memory_bytes(std::size_t count, std::uint64_t largest) {
    return Bytes{count * block_bytes(largest)};
  }

  /// `reader` has nothing in flight, and nobody else uses it meanwhile. It and `memory`, which begins at a
  /// multiple of DiskFiles::kBlock, outlive this.
  RangeReader(DiskReader& reader, std::byte* memory, std::size_t count, std::uint64_t largest);

  [[nodiscard]] bool full() const { return free_.empty(); }
  [[nodiscard]] std::size_t in_flight() const { return reader_.in_flight(); }
  /// Offset and size may be any; the target is only handed back, as the tag is. Requires: !full(). Returns
  /// what the disk is asked for: whole blocks.
  Bytes submit(const BlockRead& range);
  /// Blocks until a range has been read, or could not be. Requires: in_flight() > 0.
  [[nodiscard]] Done wait();

 private:
  [[nodiscard]] static constexpr std::uint64_t block_bytes(std::uint64_t largest) {
    return align_up(largest, DiskFiles::kBlock) + DiskFiles::kBlock;
  }

  DiskReader& reader_;
  std::byte* const memory_;
  const std::uint64_t block_;
  std::vector<BlockRead> ranges_;  // by block
  std::vector<std::size_t> free_;
};

}  // namespace brimful::tier
