#pragma once

#include "tier/host/batch_invariance.h"
#include "tier/layout/repacked_layout.h"

namespace brimful::tier {

/// How many tokens, up to `most`, `device` may compute with `kernel` at once so that each gets, bit for bit,
/// what it gets alone. Asked of the kernel itself, with some rows of `weight`; experts with tokens that all
/// choose the same one. 1 where those rows cannot tell (they are zero).
/// Requires: `weight` can be read back. Blocks: on the disk, for a few rows.
[[nodiscard]] std::int64_t tokens_with_equal_bits(ggml_backend_t device,
                                                  const BatchInvariance::Kernel& kernel,
                                                  const ggml_tensor* weight, const RepackedLayout& layout,
                                                  std::int64_t most);

}  // namespace brimful::tier
