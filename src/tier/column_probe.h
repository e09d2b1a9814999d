#pragma once

#include <ggml-backend-impl.h>

#include <cstdint>

namespace strata::tier {

/// How many columns, up to `most`, the kernel of `device` for products with `weight` may be given at once so
/// that each gets, bit for bit, what it gets alone. Asked of the kernel itself, with some rows of the weight.
/// 1 where those rows cannot tell (they are zero).
/// Requires: `weight` is a matrix that can be read back. Blocks: on the disk, for a few rows.
[[nodiscard]] std::int64_t columns_with_equal_bits(ggml_backend_t device, const ggml_tensor* weight,
                                                   std::int64_t most);

}  // namespace strata::tier
