#pragma once

#include <memory>

#include "memory/region.h"
#include "model/model_profile.h"
#include "tier/io/disk_reader.h"
#include "tier/io/range_reader.h"

namespace brimful::quantise {

/// Reads stretches of a model's tensors, past the page cache. One thread at a time.
class Source {
 public:
  /// The memory that a Source holds.
  static constexpr Bytes kMemory = tier::RangeReader::memory_bytes(4, 1024 * 1024);

  /// Lifetime: `profile` must outlive the source. Errors: those of DiskFiles::open().
  [[nodiscard]] static Result<Source> open(const model::ModelProfile& profile);

  /// Reads `bytes` bytes of the tensor from its byte `offset` on. Errors: kIo.
  [[nodiscard]] Status read(const model::TensorInfo& tensor, std::uint64_t offset, Bytes bytes,
                            std::byte* to);

  /// Errors: kIo when a file was changed since open().
  [[nodiscard]] Status check_unchanged() const { return files_->check_unchanged(); }

 private:
  Source() = default;
  std::unique_ptr<tier::DiskFiles> files_;
  std::unique_ptr<tier::DiskReader> reader_;
  memory::Region memory_;
  std::unique_ptr<tier::RangeReader> ranges_;
};

}  // namespace brimful::quantise
