#pragma once

#include <chrono>
#include <functional>
#include <memory>
#include <optional>

#include "hardware/profile.h"
#include "memory/region.h"
#include "model/model_profile.h"
#include "tier/io/disk_reader.h"

namespace brimful::probe {

/// Measures how fast a model's files can be read. It reads them from front to back, again and again, with
/// many reads in flight and past the page cache.
/// Threading: one thread at a time.
class DiskBench {
 public:
  /// Opens the files and makes 32 MiB of memory present. Errors: those of DiskFiles::open and Region.
  [[nodiscard]] static Result<std::unique_ptr<DiskBench>> create(const model::ModelProfile& profile);

  /// Reads for as long as `go_on` returns true, and returns the rate in bytes/s. `size` is the size of each
  /// read, a multiple of 4096 and at most kLargest. `in_flight` is the number of reads in flight; unset
  /// means as many as the ring uses, which is 32 MiB together (at least 8 reads, at most 128).
  [[nodiscard]] Result<double> read_while(Bytes size, const std::function<bool()>& go_on,
                                          std::optional<std::size_t> in_flight = {});

  /// Whether reads bypass the page cache.
  [[nodiscard]] bool direct() const;

  /// The largest size of a read.
  static constexpr Bytes kLargest = Bytes{4} * kMiB.value;

 private:
  DiskBench(tier::DiskFiles files, memory::Region region)
      : files_(std::move(files)), region_(std::move(region)) {}

  tier::DiskFiles files_;
  memory::Region region_;
  // The place of the next read: the index of the file, and the position in it.
  std::uint32_t file_ = 0;
  std::uint64_t at_ = 0;
};

/// Returns a function for `go_on` that returns true until `time` has passed since its first call.
[[nodiscard]] std::function<bool()> for_time(std::chrono::milliseconds time);

}  // namespace brimful::probe
