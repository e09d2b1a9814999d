#include "tier/sending_reader.h"

#include <algorithm>

namespace strata::tier {

Bytes SendingReader::staging_bytes() { return RangeReader::memory_bytes(kDepth, kLargestRead); }

SendingReader::SendingReader(const WeightTable& table, std::unique_ptr<DiskReader> disk, std::byte* staging,
                             ggml_tensor* target)
    : table_(table),
      disk_(std::move(disk)),
      ranges_(*disk_, staging, kDepth, kLargestRead),
      target_(target) {}

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
  ranges_.submit(read);
}

BlockDone SendingReader::wait() {
  if (!sent_.empty()) {
    const BlockDone done = sent_.front();
    sent_.pop_front();
    return done;
  }
  RangeReader::Done done = ranges_.wait();
  if (done.status) send(done.range, done.bytes);
  return {done.range.tag, std::move(done.status)};
}

}  // namespace strata::tier
