#pragma once

#include <cstdint>
#include <vector>

#include "base/bytes.h"
#include "base/result.h"
#include "model/model_profile.h"

namespace strata::plan {

/// How one pass uses a tensor, as recorded from the decode graph.
struct TensorUse {
  std::uint32_t tensor = 0;  ///< index into ModelProfile::tensors
  bool gather = false;       ///< rows picked by GET_ROWS
  bool by_rows = false;      ///< left operand of a plain MUL_MAT: rows may be computed apart
  bool whole = false;        ///< any other use: needs the whole tensor in one piece
  bool repacked = false;     ///< every use but gathering is served best by another order of its rows
};

/// What has a place of its own: a tensor, or a stretch of its rows.
struct Unit {
  std::uint32_t tensor = 0;
  std::int64_t first_row = 0;
  std::int64_t rows = 0;
  std::uint32_t file = 0;
  std::uint64_t offset = 0;  ///< in that file
  Bytes bytes;
  bool resident = false;
  std::uint64_t place = 0;  ///< resident: where in the arena its first byte lies

  /// The whole blocks on disk that hold it: what is read, and what its place takes.
  [[nodiscard]] std::uint64_t span_begin() const { return align_down(offset, kBlock); }
  [[nodiscard]] Bytes span() const { return Bytes{align_up(offset + bytes.value, kBlock) - span_begin()}; }

  static constexpr std::uint64_t kBlock = 4096;  ///< direct reads are multiples of this
};

/// Neighbouring resident units, read and kept in one piece.
struct Extent {
  std::uint32_t file = 0;
  std::uint64_t offset = 0;  ///< a multiple of Unit::kBlock
  Bytes size;                ///< a multiple of Unit::kBlock
  std::uint64_t place = 0;   ///< in the arena
};

/// Where every weight lies: [0, ring) of the arena is the ring, the extents follow.
/// Invariant: arena_bytes() and the units' bookkeeping <= the budget it was made for; every used tensor is
/// covered by its units, or is only gathered from disk.
struct Placement {
  std::vector<Unit> units;  ///< in the order of the pass; those of one tensor are neighbours
  std::vector<Extent> extents;
  Bytes ring;
  Bytes resident;           ///< weights that stay
  Bytes streamed_per_pass;  ///< weights read again in each pass
  Bytes largest_streamed;   ///< span of the largest streamed unit

  [[nodiscard]] Bytes arena_bytes() const;
};

/// Pins a fixed subset and streams the rest through a ring. A pass is a cyclic scan: any replacement policy
/// that follows recency re-reads nearly all of it. Streamed units are spread evenly over the pass, so that
/// the disk works while the resident ones compute. `uses` in the order of first use. Pure. Errors:
/// kInfeasible when `budget` is too small; the message says by how much.
/// The budget holds the arena, and `per_unit` bytes of bookkeeping for each unit: small units make a small
/// ring, and many of them.
[[nodiscard]] Result<Placement> place(const model::ModelProfile& profile, const std::vector<TensorUse>& uses,
                                      Bytes budget, Bytes per_unit = {});

/// The smallest budget for which place() succeeds. Pure.
[[nodiscard]] Bytes smallest_budget(const model::ModelProfile& profile, const std::vector<TensorUse>& uses,
                                    Bytes per_unit = {});

}  // namespace strata::plan
