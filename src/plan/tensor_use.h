#pragma once

#include <cstdint>
#include <optional>

#include "base/bytes.h"
#include "model/model_profile.h"

namespace brimful::plan {

/// Direct reads are multiples of this many bytes.
inline constexpr std::uint64_t kBlock = 4096;

/// Rows are split at multiples of this, so that no kernel's tile is cut and results keep their bits.
inline constexpr std::int64_t kRowStep = 64;

/// How one pass uses a tensor, as recorded from the decode graph.
struct TensorUse {
  std::uint32_t tensor = 0;  ///< index into ModelProfile::tensors
  bool gather = false;       ///< rows picked by GET_ROWS
  bool by_rows = false;      ///< left operand of a plain MUL_MAT: rows may be computed apart
  bool whole = false;        ///< any other use: needs the whole tensor in one piece
  bool repacked = false;     ///< every use but gathering is served best by another order of its rows
  bool contiguous = false;   ///< experts must follow one another without gaps: ggml would take another kernel
  /// Only used by MUL_MAT_ID, which picks experts of it: the first tensor that the same ids pick from.
  std::optional<std::uint32_t> expert_group = std::nullopt;
};

}  // namespace brimful::plan
