#pragma once

#include <ggml.h>

#include <cstddef>
#include <cstdint>
#include <string>

#include "base/result.h"
#include "model/model_profile.h"

namespace brimful::quantise {

/// Rows of one tensor, all experts one after the other.
struct Rows {
  std::int64_t first = 0;  ///< Number of the first row, counted over all experts.
  std::int64_t count = 0;
  std::int64_t width = 0;       ///< Elements in a row.
  std::int64_t per_expert = 0;  ///< Rows in the matrix of one expert; all rows of a tensor without experts.
};

[[nodiscard]] inline Rows rows_of(const model::TensorInfo& tensor, std::int64_t first, std::int64_t count) {
  return {.first = first, .count = count, .width = tensor.shape[0], .per_expert = tensor.shape[1]};
}

/// Converts rows to floats: `out` has room for count * width of them. Rows of F32 are copied.
/// Errors: kUnsupported for a type that ggml cannot convert; kCorrupt when the data is no valid data of its
/// type, such as a scale that is no number. The message begins with `name`. Blocks: `threads` threads
/// compute.
[[nodiscard]] Status to_floats(const std::string& name, ggml_type type, const std::byte* from,
                               const Rows& rows, float* out, unsigned threads);

/// Quantises rows with ggml's quantiser: the same bytes as llama.cpp's, for any division into calls.
/// `importance` has one row of `width` values for each expert, or is null. Errors: kCorrupt when the result
/// is not valid, because weights are no numbers. The message begins with `name`. Requires: an importance for
/// the types that ggml needs one for.
[[nodiscard]] Status quantise_rows(const std::string& name, ggml_type type, const float* from,
                                   const Rows& rows, const float* importance, std::byte* out,
                                   unsigned threads);

/// Checks rows that are copied as they are. Errors: as to_floats().
[[nodiscard]] Status check_rows(const std::string& name, ggml_type type, const std::byte* from,
                                const Rows& rows);

}  // namespace brimful::quantise
