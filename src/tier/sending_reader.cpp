#include "tier/sending_reader.h"

#include <algorithm>

namespace strata::tier {
namespace {

constexpr std::uint64_t kStagingBlock = SendingReader::kLargestRead + 2 * DiskFiles::kBlock;

}  // namespace

Bytes SendingReader::staging_bytes() { return Bytes{kDepth * kStagingBlock}; }

SendingReader::SendingReader(const WeightTable& table, std::unique_ptr<DiskReader> disk, std::byte* staging,
                             ggml_tensor* target)
    : table_(table), disk_(std::move(disk)), staging_(staging), target_(target), pending_(kDepth) {
  for (std::size_t i = 0; i < depth(); ++i) free_.push_back(i);
}

void SendingReader::send(const BlockRead& read, const std::byte* bytes) {
  const auto offset = static_cast<std::size_t>(read.target - static_cast<std::byte*>(target_->data));
  ggml_backend_tensor_set(target_, bytes, offset, read.size);
}

void SendingReader::submit(const BlockRead& read) {
  if (const std::byte* const bytes = table_.in_file_order(read.file, read.offset, read.size)) {
    send(read, bytes);
    sent_.push_back({read.tag, {}});
    return;
  }
  const std::size_t block = free_.back();
  free_.pop_back();
  pending_[block] = read;
  const std::uint64_t begin = align_down(read.offset, DiskFiles::kBlock);
  const std::uint64_t end = align_up(read.offset + read.size, DiskFiles::kBlock);
  disk_->submit(BlockRead{read.file, begin, static_cast<std::uint32_t>(end - begin),
                          staging_ + block * kStagingBlock, block});
}

BlockDone SendingReader::wait() {
  if (!sent_.empty()) {
    const BlockDone done = sent_.front();
    sent_.pop_front();
    return done;
  }
  BlockDone done = disk_->wait();
  const auto block = static_cast<std::size_t>(done.tag);
  const BlockRead& read = pending_[block];
  if (done.status) send(read, staging_ + block * kStagingBlock + read.offset % DiskFiles::kBlock);
  free_.push_back(block);
  done.tag = read.tag;
  return done;
}

}  // namespace strata::tier
