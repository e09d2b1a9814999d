#pragma once

#include "base/result.h"

namespace brimful::probe {

/// The rates of memory.
struct RamRates {
  /// The rate at which all threads together read.
  double read_bytes_per_s = 0;
  /// The rate at which memory becomes present when it is touched for the first time.
  double touch_bytes_per_s = 0;
};

/// Measures the memory with `threads` threads.
/// Errors: those of Region; kInternal. Blocks: about a second. Holds: 512 MiB while it measures.
[[nodiscard]] Result<RamRates> measure_ram(int threads);

}  // namespace brimful::probe
