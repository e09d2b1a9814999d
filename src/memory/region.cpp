#include "memory/region.h"

#include <fmt/format.h>
#include <sys/mman.h>

#include <algorithm>
#include <cerrno>
#include <cstdint>
#include <cstring>
#include <system_error>
#include <thread>
#include <utility>
#include <vector>

namespace brimful::memory {
namespace {

constexpr std::size_t kHugePage = 2 * 1024 * 1024;
constexpr std::size_t kPage = 4096;

// Bytes that are worth a thread of their own.
constexpr std::size_t kPartForThread = 1ULL << 30;
// So many threads zero memory faster than any disk reads.
constexpr std::size_t kMostThreads = 8;

#ifndef MADV_POPULATE_WRITE
// Linux 5.14 has it. The headers of Debian 12's libc know it; older ones do not.
constexpr int MADV_POPULATE_WRITE = 23;
#endif

/// Makes pages present. Returns 0, or the errno.
int populate(std::byte* data, std::size_t bytes) {
  if (::madvise(data, bytes, MADV_POPULATE_WRITE) == 0) return 0;
  if (errno != EINVAL) return errno;
  for (std::size_t i = 0; i < bytes; i += kPage) {  // a kernel before 5.14
    auto* const byte = reinterpret_cast<volatile unsigned char*>(data + i);
    *byte = *byte;
  }
  return 0;
}

/// Makes pages present with several threads: one core zeroes slower than the memory could take it. Returns 0,
/// or an errno.
int populate_in_parallel(std::byte* data, std::size_t bytes) {
  const std::size_t most = std::clamp<std::size_t>(std::thread::hardware_concurrency(), 1, kMostThreads);
  const std::size_t count = std::clamp<std::size_t>(bytes / kPartForThread, 1, most);
  const std::size_t part = align_up(bytes / count, kHugePage);
  std::vector<int> errors(count, 0);
  std::vector<std::thread> threads;
  const auto work = [&](std::size_t i) {
    const std::size_t begin = std::min(i * part, bytes);
    errors[i] = populate(data + begin, std::min(part, bytes - begin));
  };
  std::size_t started = 1;
  try {
    for (; started < count; ++started) threads.emplace_back(work, started);
  } catch (const std::system_error&) {  // no more threads: the rest is done here
  }
  work(0);
  for (; started < count; ++started) work(started);
  for (std::thread& thread : threads) thread.join();
  const auto failed = std::ranges::find_if(errors, [](int error) { return error != 0; });
  return failed == errors.end() ? 0 : *failed;
}

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
  // A fork would copy pinned pages at once, and other pages when they are written to. So children do not get
  // the region.
  ::madvise(mapping, region.mapping_size_, MADV_DONTFORK);
  region.mapping_ = mapping;
  region.data_ = reinterpret_cast<std::byte*>(align_up(reinterpret_cast<std::uintptr_t>(mapping), kHugePage));
  region.size_ = size;
  // Ask for whole huge pages only: one at the tail would hold bytes beyond the region. The kernel may ignore
  // the advice; then the region is slower, and nothing else changes.
  const std::size_t huge = align_down(bytes, kHugePage);
  if (huge > 0) ::madvise(region.data_, huge, MADV_HUGEPAGE);
  if (bytes > huge) ::madvise(region.data_ + huge, bytes - huge, MADV_NOHUGEPAGE);
  return region;
}

void Region::discard() {
  if (size_.value > 0) ::madvise(data_, align_up(size_.value, kPage), MADV_DONTNEED);
}

Status Region::commit() {
  if (size_.value == 0) return {};
  const int error = populate_in_parallel(data_, align_up(size_.value, kPage));
  if (error == 0) return {};
  return fail(ErrorCode::kBudgetExceeded,
              fmt::format("the system cannot provide {} of memory: {}; use a smaller RAM budget",
                          format_bytes(size_), std::strerror(error)));
}

}  // namespace brimful::memory
