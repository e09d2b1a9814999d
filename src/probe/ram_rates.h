#pragma once

#include "base/result.h"

namespace brimful::probe {

struct RamRates {
  double read_bytes_per_s = 0;   ///< by all threads
  double touch_bytes_per_s = 0;  ///< pages made present
};

/// Errors: those of Region. Blocks: about a second. Holds 512 MiB meanwhile.
[[nodiscard]] Result<RamRates> measure_ram(int threads);

}  // namespace brimful::probe
