#include "tier/io/range_reader.h"

#include <algorithm>

namespace brimful::tier {

RangeReader::RangeReader(DiskReader& reader, std::byte* memory, std::size_t count, std::uint64_t largest)
    : reader_(reader),
      memory_(memory),
      block_(block_bytes(largest)),
      ranges_(std::min(count, reader.depth())) {
  for (std::size_t i = 0; i < ranges_.size(); ++i) free_.push_back(i);
}

Bytes RangeReader::submit(const BlockRead& range) {
  const std::size_t block = free_.back();
  free_.pop_back();
  ranges_[block] = range;
  const std::uint64_t begin = align_down(range.offset, DiskFiles::kBlock);
  const std::uint64_t size = align_up(range.offset + range.size, DiskFiles::kBlock) - begin;
  reader_.submit(
      BlockRead{range.file, begin, static_cast<std::uint32_t>(size), memory_ + block * block_, block});
  return Bytes{size};
}

RangeReader::Done RangeReader::wait() {
  BlockDone done = reader_.wait();
  free_.push_back(done.tag);
  const BlockRead& range = ranges_[done.tag];
  return {range, std::move(done.status), memory_ + done.tag * block_ + range.offset % DiskFiles::kBlock};
}

}  // namespace brimful::tier
