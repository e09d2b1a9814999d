#include "tier/io/part_reader.h"

#include <cstring>
#include <numeric>

#include "base/check.h"
#include "plan/expert_groups.h"

namespace brimful::tier {

PartReader::PartReader(std::unique_ptr<DiskReader> reader, std::byte* landing, Bytes size)
    : reader_(std::move(reader)), in_flight_(reader_->depth()), free_(reader_->depth()) {
  std::iota(free_.begin(), free_.end(), 0U);
  for (std::uint64_t i = 0; size.value > 0 && i < plan::kLandings; ++i)
    landings_.push_back(landing + i * (size.value / plan::kLandings));
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
    std::byte* landing = nullptr;
    if (part.region == nullptr) {
      if (landings_.empty()) return;
      landing = landings_.back();
      landings_.pop_back();
    }
    queued_.pop_front();
    const std::uint32_t tag = free_.back();
    free_.pop_back();
    in_flight_[tag] = {part, landing};
    const std::uint64_t begin = align_down(part.offset, DiskFiles::kBlock);
    const std::uint64_t span = align_up(part.offset + part.bytes.value, DiskFiles::kBlock) - begin;
    bytes_read_ += Bytes{span};
    reader_->submit(BlockRead{part.file, begin, static_cast<std::uint32_t>(span),
                              landing != nullptr ? landing : part.region, tag});
  }
}

void PartReader::take_one() {
  const BlockDone done = reader_->wait();
  const auto& [part, landing] = in_flight_[done.tag];
  if (landing != nullptr) landings_.push_back(landing);
  free_.push_back(static_cast<std::uint32_t>(done.tag));
  --*part.left;
  if (!done.status) {
    if (!error_) error_ = done.status.error();
    return;
  }
  const std::byte* const arrived =
      (landing != nullptr ? landing : part.region) + part.offset % DiskFiles::kBlock;
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
