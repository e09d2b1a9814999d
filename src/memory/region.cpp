#include "memory/region.h"

#include <fmt/format.h>
#include <sys/mman.h>

#include <cerrno>
#include <cstdint>
#include <cstring>
#include <utility>

namespace strata::memory {
namespace {

constexpr std::size_t kHugePage = 2 * 1024 * 1024;
constexpr std::size_t kPage = 4096;

#ifndef MADV_POPULATE_WRITE
constexpr int MADV_POPULATE_WRITE = 23;  // Linux 5.14; Debian 12's libc headers know it, older ones do not
#endif

}  // namespace

Region::Region(Region&& other) noexcept
    : mapping_(std::exchange(other.mapping_, nullptr)),
      mapping_size_(std::exchange(other.mapping_size_, 0)),
      data_(std::exchange(other.data_, nullptr)),
      size_(std::exchange(other.size_, Bytes{})) {}

Region& Region::operator=(Region&& other) noexcept {
  if (this != &other) {
    unmap();
    mapping_ = std::exchange(other.mapping_, nullptr);
    mapping_size_ = std::exchange(other.mapping_size_, 0);
    data_ = std::exchange(other.data_, nullptr);
    size_ = std::exchange(other.size_, Bytes{});
  }
  return *this;
}

Region::~Region() { unmap(); }

void Region::unmap() {
  if (mapping_ != nullptr) ::munmap(mapping_, mapping_size_);
  mapping_ = nullptr;
}

Result<Region> Region::reserve(Bytes size) {
  Region region;
  if (size.value > (1ULL << 62)) {
    return fail(ErrorCode::kInvalidArgument,
                fmt::format("{} is more than any address space", format_bytes(size)));
  }
  const std::size_t bytes = align_up(size.value, kPage);
  if (bytes == 0) return region;
  region.mapping_size_ = bytes + kHugePage;
  void* const mapping = ::mmap(nullptr, region.mapping_size_, PROT_READ | PROT_WRITE,
                               MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (mapping == MAP_FAILED) {
    return fail(ErrorCode::kIo, fmt::format("the system refused {} of address space: {}", format_bytes(size),
                                            std::strerror(errno)));
  }
  region.mapping_ = mapping;
  region.data_ = reinterpret_cast<std::byte*>(align_up(reinterpret_cast<std::uintptr_t>(mapping), kHugePage));
  region.size_ = size;
  // Only whole huge pages: one at the tail would hold bytes beyond the region.
  const std::size_t huge = align_down(bytes, kHugePage);
  if (huge > 0) ::madvise(region.data_, huge, MADV_HUGEPAGE);  // advice: slower without, never wrong
  if (bytes > huge) ::madvise(region.data_ + huge, bytes - huge, MADV_NOHUGEPAGE);
  return region;
}

void Region::discard() {
  if (size_.value > 0) ::madvise(data_, align_up(size_.value, kPage), MADV_DONTNEED);
}

Status Region::commit() {
  if (size_.value == 0) return {};
  const std::size_t bytes = align_up(size_.value, kPage);
  if (::madvise(data_, bytes, MADV_POPULATE_WRITE) == 0) return {};
  if (errno == EINVAL) {  // a kernel before 5.14
    for (std::size_t i = 0; i < bytes; i += kPage) {
      auto* const byte = reinterpret_cast<volatile unsigned char*>(data_ + i);
      *byte = *byte;
    }
    return {};
  }
  return fail(ErrorCode::kBudgetExceeded,
              fmt::format("the system has no {} of memory to give: {}; use a smaller --ram",
                          format_bytes(size_), std::strerror(errno)));
}

}  // namespace strata::memory
