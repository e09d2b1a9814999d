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

/// Reads a model's files again and again, in order, many reads in flight, past the page cache.
/// Threading: one thread at a time.
class DiskBench {
 public:
  /// Errors: those of DiskFiles::open and Region.
  [[nodiscard]] static Result<std::unique_ptr<DiskBench>> create(const model::ModelProfile& profile);

  /// Bytes/s of reads of `size`, a multiple of 4096 and at most kLargest, for as long as `go_on` says yes.
  /// `in_flight`: reads at once; as the tier's where it is not given.
  [[nodiscard]] Result<double> read_while(Bytes size, const std::function<bool()>& go_on,
                                          std::optional<std::size_t> in_flight = {});

  /// Whether reads bypass the page cache.
  [[nodiscard]] bool direct() const;

  static constexpr Bytes kLargest = Bytes{4} * kMiB.value;

 private:
  DiskBench(tier::DiskFiles files, memory::Region region)
      : files_(std::move(files)), region_(std::move(region)) {}

  tier::DiskFiles files_;
  memory::Region region_;
  std::uint32_t file_ = 0;
  std::uint64_t at_ = 0;
};

/// Yes until so much time has passed since the first question.
[[nodiscard]] std::function<bool()> for_time(std::chrono::milliseconds time);

}  // namespace brimful::probe
