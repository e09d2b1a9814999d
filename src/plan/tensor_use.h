#pragma once

#include <cstdint>
#include <optional>

#include "base/bytes.h"
#include "model/model_profile.h"

namespace brimful::plan {

/// Unit: bytes. Offsets and sizes of direct reads are multiples of this.
inline constexpr std::uint64_t kBlock = 4096;

/// Tensors are split at multiples of this many rows, so that no kernel's tile is cut and results keep their
/// bits. For the exception see kKernelRows.
inline constexpr std::int64_t kRowStep = 64;

/// How one pass uses a tensor, as recorded from its graphs.
struct TensorUse {
  /// Index into ModelProfile::tensors.
  std::uint32_t tensor = 0;
  /// GET_ROWS picks rows of it.
  bool gather = false;
  /// It is the left operand of a plain MUL_MAT: its rows may be computed apart.
  bool by_rows = false;
  /// It has any other use, and must lie in one piece.
  bool whole = false;
  /// ggml-cpu computes every use but gathering best with another layout of its rows.
  bool repacked = false;
  /// Its experts must follow one another without gaps, because ggml would choose another kernel otherwise.
  bool contiguous = false;
  /// Set if only MUL_MAT_ID uses the tensor, which picks experts of it: the first tensor that the same ids
  /// pick from.
  std::optional<std::uint32_t> expert_group = std::nullopt;
  /// The model's heads use it for each drafted token, so it should stay in memory where there is room.
  bool for_drafts = false;
};

}  // namespace brimful::plan
