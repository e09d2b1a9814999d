#pragma once

#include <cstdint>
#include <vector>

#include "base/bytes.h"
#include "base/result.h"
#include "model/model_profile.h"
#include "plan/expert_groups.h"
#include "plan/tensor_use.h"

namespace brimful::plan {

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
};

/// Neighbouring resident units, read and kept in one piece.
struct Extent {
  std::uint32_t file = 0;
  std::uint64_t offset = 0;  ///< a multiple of kBlock
  Bytes size;                ///< a multiple of kBlock
  std::uint64_t place = 0;   ///< in the arena
};

/// Heap that the tier takes for what it keeps account of, at most.
struct Bookkeeping {
  Bytes per_unit;    ///< an expert part counts as one
  Bytes per_expert;  ///< of each group
};

/// Where every weight lies: [0, ring) of the arena is the ring, the extents follow, then the slots of the
/// experts and their stage.
/// Invariant: arena_bytes() and bookkeeping() <= the budget it was made for; every used tensor is covered by
/// its units, or is in an expert group, or is only gathered from disk.
struct Placement {
  std::vector<Unit> units;  ///< in the order of the pass; those of one tensor are neighbours
  std::vector<Extent> extents;
  std::vector<ExpertGroup> groups;  ///< in the order of the pass; none where all experts are resident
  Bytes ring;
  Bytes stage;                      ///< for a step that uses more experts than there are slots
  Bytes landing;                    ///< for parts that cannot be read straight to their place
  std::uint64_t stage_place = 0;    ///< in the arena
  std::uint64_t landing_place = 0;  ///< in the arena
  Bytes resident;                   ///< weights that stay
  Bytes streamed_per_pass;          ///< weights read again in each pass
  Bytes largest_streamed;           ///< span of the largest streamed unit

  [[nodiscard]] Bytes slot_bytes() const;
  [[nodiscard]] Bytes arena_bytes() const;
  [[nodiscard]] Bytes bookkeeping(Bookkeeping costs) const;
};

/// Pins a fixed subset and streams the rest through a ring. A pass is a cyclic scan: any replacement policy
/// that follows recency re-reads nearly all of it. Streamed units are spread evenly over the pass, so that
/// the disk works while the resident ones compute. `uses` in the order of first use. Pure. Errors:
/// kInfeasible when `budget` is too small; the message says by how much.
/// The budget holds the arena and its bookkeeping: small units make a small ring, and many of them.
/// Experts whose group does not fit as a whole get slots: from what the other weights leave, which every
/// token uses.
[[nodiscard]] Result<Placement> place(const model::ModelProfile& profile, const std::vector<TensorUse>& uses,
                                      Bytes budget, Bookkeeping costs = {});

/// The smallest budget for which place() succeeds. Pure.
[[nodiscard]] Bytes smallest_budget(const model::ModelProfile& profile, const std::vector<TensorUse>& uses,
                                    Bookkeeping costs = {});

}  // namespace brimful::plan
