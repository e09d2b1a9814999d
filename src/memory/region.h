#pragma once

#include <cstddef>
#include <span>

#include "base/bytes.h"
#include "base/result.h"

namespace brimful::memory {

/// A range of anonymous memory. It takes address space at once, and memory only with commit(). It is aligned
/// to 2 MiB and backed by huge pages where the kernel gives them: direct reads into small pages reach little
/// more than half the bandwidth. Children of fork() do not get it.
/// Move-only; not thread-safe.
class Region {
 public:
  Region() = default;
  Region(Region&& other) noexcept;
  Region& operator=(Region&& other) noexcept;
  ~Region();

  /// Takes address space for `size` bytes, which may be 0. Errors: kIo when the system refuses it;
  /// kInvalidArgument for more than 2^62 bytes.
  [[nodiscard]] static Result<Region> reserve(Bytes size);

  /// Makes every page present, so that no later access can need memory.
  /// Errors: kBudgetExceeded when the kernel has no memory for it.
  /// Blocks: for as long as zeroing the pages takes.
  [[nodiscard]] Status commit();

  /// Gives the pages back and keeps the address space. Afterwards the contents are zero.
  void discard();

  [[nodiscard]] std::byte* data() const { return data_; }
  [[nodiscard]] Bytes size() const { return size_; }

 private:
  void unmap();

  // The address that mmap returned, before alignment.
  void* mapping_ = nullptr;
  std::size_t mapping_size_ = 0;
  std::byte* data_ = nullptr;
  Bytes size_;
};

}  // namespace brimful::memory
