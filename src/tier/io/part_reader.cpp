#include "tier/io/part_reader.h"

#include <cstring>
#include <numeric>

#include "base/check.h"
#include "plan/expert_groups.h"

namespace brimful::tier {

PartReader::PartReader(std::unique_ptr<DiskReader> reader, std::byte* buffers, Bytes size)
    : reader_(std::move(reader)), in_flight_(reader_->depth()), free_(reader_->depth()) {
  std::iota(free_.begin(), free_.end(), 0U);
  for (std::uint64_t i = 0; size.value > 0 && i < plan::kBounceBuffers; ++i)
    bounce_buffers_.push_back(buffers + i * (size.value / plan::kBounceBuffers));
}

PartReader::~PartReader() { drain(); }

void PartReader::queue(const PartRead& part) {
  ++*part.left;
  queued_.push_back(part);
  submit();
}

void PartReader::submit() {
  while (!queued_.empty() && !free_.empty()) {
    const PartRead part = queued_.front();
    std::byte* bounce_buffer = nullptr;
    if (part.region == nullptr) {
      if (bounce_buffers_.empty()) return;
      bounce_buffer = bounce_buffers_.back();
      bounce_buffers_.pop_back();
    }
    queued_.pop_front();
    const std::uint32_t tag = free_.back();
    free_.pop_back();
    in_flight_[tag] = {part, bounce_buffer};
    const std::uint64_t begin = align_down(part.offset, DiskFiles::kBlock);
    const std::uint64_t span = align_up(part.offset + part.bytes.value, DiskFiles::kBlock) - begin;
    bytes_read_ += Bytes{span};
    reader_->submit(BlockRead{part.file, begin, static_cast<std::uint32_t>(span),
                              bounce_buffer != nullptr ? bounce_buffer : part.region, tag});
  }
}

void PartReader::take_one() {
  const BlockDone done = reader_->wait();
  const auto& [part, bounce_buffer] = in_flight_[done.tag];
  if (bounce_buffer != nullptr) bounce_buffers_.push_back(bounce_buffer);
  free_.push_back(static_cast<std::uint32_t>(done.tag));
  --*part.left;
  if (!done.status) {
    if (!error_) error_ = done.status.error();
    return;
  }
  const std::byte* const arrived =
      (bounce_buffer != nullptr ? bounce_buffer : part.region) + part.offset % DiskFiles::kBlock;
  if (arrived != part.data) std::memmove(part.data, arrived, part.bytes.value);
}

Status PartReader::wait_for_one() {
  if (!error_) {
    BRIMFUL_CHECK(reader_->in_flight() > 0);
    take_one();
    submit();
  }
  return error_ ? Status(std::unexpected(*error_)) : Status{};
}

void PartReader::poll() {
  while (!error_ && reader_->in_flight() > 0 && reader_->has_ended()) {
    take_one();
    submit();
  }
}

Status PartReader::wait(const std::uint32_t& left) {
  while (left > 0) BRIMFUL_TRY_VOID(wait_for_one());
  return error_ ? Status(std::unexpected(*error_)) : Status{};
}

void PartReader::drain() {
  for (const PartRead& part : queued_) --*part.left;
  queued_.clear();
  while (reader_->in_flight() > 0) take_one();
  error_.reset();
}

}  // namespace brimful::tier
