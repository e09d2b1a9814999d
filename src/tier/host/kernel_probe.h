#pragma once

#include "tier/host/batch_invariance.h"
#include "tier/layout/repacked_layout.h"

namespace brimful::tier {

/// The number of tokens, from 1 to `most`, that `device` may compute with `kernel` at once so that each token
/// gets, bit for bit, what it gets alone. The function computes some rows of `weight` with the kernel itself;
/// for experts, all tokens choose the same one. It returns 1 where those rows cannot show a difference (they
/// are zero) or ggml fails.
/// Requires: `weight` can be read back. Blocks: on the disk, for a few rows.
[[nodiscard]] std::int64_t tokens_with_equal_bits(ggml_backend_t device,
                                                  const BatchInvariance::Kernel& kernel,
                                                  const ggml_tensor* weight, const RepackedLayout& layout,
                                                  std::int64_t most);

}  // namespace brimful::tier
