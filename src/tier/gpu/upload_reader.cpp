#include "tier/gpu/upload_reader.h"

#include <algorithm>

namespace brimful::tier {

Bytes UploadReader::staging_bytes() { return RangeReader::memory_bytes(kDepth, kLargestRead); }

UploadReader::UploadReader(const WeightTable& table, ExpertLoans* experts, std::unique_ptr<DiskReader> disk,
                           std::byte* staging, ggml_tensor* target, CopyQueue* queue, TurningThreads* threads,
                           std::atomic<std::uint64_t>& from_disk)
    : table_(table),
      experts_(experts),
      disk_(std::move(disk)),
      ranges_(*disk_, staging, kDepth, kLargestRead),
      target_(target),
      queue_(queue),
      threads_(threads),
      from_disk_(from_disk) {}

/// Waits until nothing writes to the device any more.
UploadReader::~UploadReader() {
  for (const Sent& sent : sent_) finish(sent);
}

void UploadReader::finish(const Sent& sent) {
  if (sent.buffer != nullptr) {
    std::unique_lock lock(mutex_);
    turned_back_.wait(lock, [&] { return !turning_[sent.place].running; });
    lock.unlock();
    if (queue_ == nullptr)
      copy(sent.place, sent.buffer, turning_[sent.place].offset, turning_[sent.place].size);
    ranges_.give_back(sent.buffer);
  }
  if (queue_ != nullptr) queue_->wait(sent.place);
  if (sent.expert) experts_->give_back(*sent.expert);
}

std::size_t UploadReader::offset_of(const BlockRead& read) const {
  return static_cast<std::size_t>(read.target - static_cast<std::byte*>(target_->data));
}

void UploadReader::submit(const BlockRead& read) {
  auto stretch = table_.resident_bytes(read.file, read.offset, read.size);
  Sent sent{.tag = read.tag, .place = next_place_, .expert = {}};
  if (!stretch && experts_ != nullptr) sent.expert = experts_->lend(read.file, read.offset, read.size);
  if (sent.expert) stretch = sent.expert->bytes;
  if (!stretch) {
    from_disk_ += ranges_.submit(read).value;
    return;
  }
  next_place_ = (next_place_ + 1) % kDepth;
  if (table_.repacked(stretch->tensor)) {
    sent.buffer = ranges_.take_buffer();
    sent_.push_back(sent);
    turn_back(sent, *stretch, read);
  } else {
    sent_.push_back(sent);
    copy(sent.place, stretch->data, offset_of(read), read.size);
  }
}

/// Begins to turn the bytes of a repacked weight back, in the buffer of `sent`, and to copy them from there.
void UploadReader::turn_back(const Sent& sent, const WeightTable::Stretch& stretch, const BlockRead& read) {
  const model::TensorInfo& info = table_.profile().tensors[stretch.tensor];
  const std::uint64_t row_bytes = info.row_bytes().value;
  const std::uint64_t begin = stretch.offset % (kInterleavedRows * row_bytes);  // in its group of rows
  turning_[sent.place] = {.rows = {info.type, row_bytes, stretch.data - begin},
                          .begin = begin,
                          .size = read.size,
                          .buffer = sent.buffer,
                          .offset = offset_of(read),
                          .running = true};
  if (threads_ == nullptr) {
    turn_back_place(sent.place);
  } else {
    threads_->add([this, place = sent.place] { turn_back_place(place); });
  }
}

void UploadReader::turn_back_place(std::size_t place) {
  Turning& turning = turning_[place];
  tier::turn_back(turning.rows, turning.begin, turning.size, turning.buffer);
  if (queue_ != nullptr) copy(place, turning.buffer, turning.offset, turning.size);
  const std::lock_guard lock(mutex_);
  turning.running = false;
  turned_back_.notify_all();
}

void UploadReader::copy(std::size_t place, const std::byte* bytes, std::size_t offset, std::uint64_t size) {
  if (queue_ == nullptr) {
    ggml_backend_tensor_set(target_, bytes, offset, size);
    return;
  }
  const std::lock_guard lock(queue_mutex_);
  queue_->copy(place, target_, bytes, offset, size);
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
