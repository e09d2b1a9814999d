#include "quantise/source.h"

#include <algorithm>
#include <cstring>
#include <utility>

namespace brimful::quantise {
namespace {

constexpr std::size_t kCount = 4;
constexpr std::uint64_t kLargest = 1024 * 1024;
static_assert(Source::kMemory == tier::RangeReader::memory_bytes(kCount, kLargest));

}  // namespace

Result<Source> Source::open(const model::ModelProfile& profile) {
  Source out;
  BRIMFUL_TRY(tier::DiskFiles files, tier::DiskFiles::open(profile));
  out.files_ = std::make_unique<tier::DiskFiles>(std::move(files));
  BRIMFUL_TRY(out.reader_, tier::make_reader(*out.files_, tier::ReaderKind::kAuto, kCount));
  BRIMFUL_TRY(out.memory_, memory::Region::reserve(kMemory));
  BRIMFUL_TRY_VOID(out.memory_.commit());
  out.ranges_ = std::make_unique<tier::RangeReader>(*out.reader_, out.memory_.data(), kCount, kLargest);
  return out;
}

Status Source::read(const model::TensorInfo& tensor, std::uint64_t offset, Bytes bytes, std::byte* to) {
  Status status;
  std::uint64_t asked = 0;
  while (asked < bytes.value || ranges_->in_flight() > 0) {
    if (status && asked < bytes.value && !ranges_->full()) {
      const std::uint64_t n = std::min(kLargest, bytes.value - asked);
      ranges_->submit({.file = tensor.file,
                       .offset = tensor.offset + offset + asked,
                       .size = static_cast<std::uint32_t>(n),
                       .target = to + asked,
                       .tag = 0});
      asked += n;
      continue;
    }
    if (ranges_->in_flight() == 0) break;
    const tier::RangeReader::Done done = ranges_->wait();
    if (!done.status && status) status = done.status;
    if (done.status) std::memcpy(done.range.target, done.bytes, done.range.size);
  }
  return status;
}

}  // namespace brimful::quantise
