#pragma once

#include <cstddef>
#include <span>

#include "base/bytes.h"
#include "base/result.h"

namespace brimful::memory {

/// A range of anonymous memory. Address space is taken at once, memory only by commit().
/// Aligned to 2 MiB and backed by huge pages where the kernel gives them: direct reads into small pages
/// reach little more than half the bandwidth, and page tables stay small. Children of fork() do not have it.
/// Move-only; not thread-safe.
class Region {
 public:
  Region() = default;
  Region(Region&& other) noexcept;
  Region& operator=(Region&& other) noexcept;
  ~Region();

  /// Errors: kIo when the address space is refused.
  [[nodiscard]] static Result<Region> reserve(Bytes size);

  /// Makes every page present, so that no later access can need memory.
  /// Errors: kBudgetExceeded when the kernel has no memory for it.
  /// Blocks: for as long as zeroing the pages takes.
  [[nodiscard]] Status commit();

  /// Gives the pages back and keeps the address space; the contents are zero again.
  void discard();

  [[nodiscard]] std::byte* data() const { return data_; }
  [[nodiscard]] Bytes size() const { return size_; }

 private:
  void unmap();

  void* mapping_ = nullptr;  // as mmap returned it, before alignment
  std::size_t mapping_size_ = 0;
  std::byte* data_ = nullptr;
  Bytes size_;
};

}  // namespace brimful::memory
