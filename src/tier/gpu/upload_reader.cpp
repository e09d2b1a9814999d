#include "tier/gpu/upload_reader.h"

#include <algorithm>

namespace brimful::tier {

Bytes UploadReader::staging_bytes() { return RangeReader::memory_bytes(kDepth, kLargestRead); }

UploadReader::UploadReader(const WeightTable& table, ExpertLoans* experts, std::unique_ptr<DiskReader> disk,
                           std::byte* staging, ggml_tensor* target, CopyQueue* queue,
                           std::atomic<std::uint64_t>& from_disk)
    : table_(table),
      experts_(experts),
      disk_(std::move(disk)),
      ranges_(*disk_, staging, kDepth, kLargestRead),
      target_(target),
      queue_(queue),
      from_disk_(from_disk) {}

/// Waits until nothing writes to the device any more.
UploadReader::~UploadReader() {
  for (const Sent& sent : sent_) finish(sent);
}

void UploadReader::finish(const Sent& sent) {
  if (queue_ != nullptr) queue_->wait(sent.place);
  if (sent.expert) experts_->give_back(*sent.expert);
}

std::size_t UploadReader::offset_of(const BlockRead& read) const {
  return static_cast<std::size_t>(read.target - static_cast<std::byte*>(target_->data));
}

void UploadReader::submit(const BlockRead& read) {
  const std::byte* bytes = table_.in_file_order(read.file, read.offset, read.size);
  Sent sent{.tag = read.tag, .place = next_place_, .expert = {}};
  if (bytes == nullptr && experts_ != nullptr)
    sent.expert = experts_->lend(read.file, read.offset, read.size);
  if (sent.expert) bytes = sent.expert->bytes;
  if (bytes == nullptr) {
    from_disk_ += ranges_.submit(read).value;
    return;
  }
  sent_.push_back(sent);
  if (queue_ != nullptr) {
    queue_->copy(next_place_, target_, bytes, offset_of(read), read.size);
  } else {
    ggml_backend_tensor_set(target_, bytes, offset_of(read), read.size);
  }
  next_place_ = (next_place_ + 1) % kDepth;
}

BlockDone UploadReader::wait() {
  if (!sent_.empty()) {
    const Sent sent = sent_.front();
    sent_.pop_front();
    finish(sent);
    return {sent.tag, {}};
  }
  RangeReader::Done done = ranges_.wait();
  if (done.status) ggml_backend_tensor_set(target_, done.bytes, offset_of(done.range), done.range.size);
  return {done.range.tag, std::move(done.status)};
}

}  // namespace brimful::tier
