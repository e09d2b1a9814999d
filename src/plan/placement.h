#pragma once

#include <cstdint>
#include <vector>

#include "base/bytes.h"
#include "base/result.h"
#include "model/model_profile.h"
#include "plan/expert_groups.h"
#include "plan/tensor_use.h"

namespace brimful::plan {

/// What has a place of its own: a tensor, or some rows of a large one.
struct Unit {
  /// Index into ModelProfile::tensors.
  std::uint32_t tensor = 0;
  std::int64_t first_row = 0;
  std::int64_t rows = 0;
  /// Index into ModelProfile::files.
  std::uint32_t file = 0;
  /// Offset of the first byte in that file.
  std::uint64_t offset = 0;
  Bytes bytes;
  bool resident = false;
  /// For a resident unit: offset in the arena of its first byte.
  std::uint64_t place = 0;

  /// The whole blocks on disk that hold the unit: these are read, and its place has room for them.
  [[nodiscard]] std::uint64_t span_begin() const { return align_down(offset, kBlock); }
  [[nodiscard]] Bytes span() const { return Bytes{align_up(offset + bytes.value, kBlock) - span_begin()}; }
};

/// Resident units that are neighbours in a file. They are read and kept in one piece.
struct Extent {
  std::uint32_t file = 0;
  /// A multiple of kBlock.
  std::uint64_t offset = 0;
  /// A multiple of kBlock.
  Bytes size;
  /// Offset in the arena.
  std::uint64_t place = 0;
};

/// Heap bytes that the tier takes, at most, to keep account of a placement.
struct Bookkeeping {
  /// For each unit. An expert part counts as one.
  Bytes per_unit;
  /// For each expert of each group.
  Bytes per_expert;
};

/// Where every weight lies. The ring takes [0, ring) of the arena; then come the extents, the slots of the
/// experts, their stage and their bounce buffers.
/// Invariant: arena_bytes() and bookkeeping() together are at most the budget that the placement was made
/// for. Every used tensor is covered by its units, or is in an expert group, or is only gathered from disk.
struct Placement {
  /// In the order of the pass. The units of one tensor are neighbours, in row order.
  std::vector<Unit> units;
  std::vector<Extent> extents;
  /// In the order of the pass. Empty where all experts are resident.
  std::vector<ExpertGroup> groups;
  Bytes ring;
  /// Memory for a step that uses more experts than there are slots.
  Bytes stage;
  /// Bounce buffers for parts that cannot be read straight to their place.
  Bytes bounce_buffers;
  /// Offset in the arena.
  std::uint64_t stage_place = 0;
  /// Offset in the arena.
  std::uint64_t bounce_place = 0;
  /// Bytes of the resident weights.
  Bytes resident;
  /// Bytes of the weights that are read again in each pass.
  Bytes streamed_per_pass;
  /// Span of the largest streamed unit.
  Bytes largest_streamed;

  /// Bytes of the slots of all groups.
  [[nodiscard]] Bytes slot_bytes() const;
  /// Size of the arena.
  [[nodiscard]] Bytes arena_bytes() const;
  /// Heap that the tier takes for this placement.
  [[nodiscard]] Bytes bookkeeping(Bookkeeping costs) const;
};

/// Keeps a fixed subset of the weights resident, and streams the rest through a ring. A pass is a cyclic
/// scan: any replacement policy that goes by recency would read nearly all of it again. Streamed units are
/// spread evenly over the pass, so that the disk works while the resident ones compute.
/// Experts whose group does not fit as a whole get slots. These get what the other weights leave, because
/// every token uses those.
/// `uses` is in the order of first use. `budget` holds the arena and its bookkeeping: small units need a
/// small ring, but there are many of them. Pure.
/// Errors: kInfeasible when `budget` is too small; the message says by how much.
[[nodiscard]] Result<Placement> place(const model::ModelProfile& profile, const std::vector<TensorUse>& uses,
                                      Bytes budget, Bookkeeping costs = {});

/// The smallest budget for which place() succeeds. Pure.
[[nodiscard]] Bytes smallest_budget(const model::ModelProfile& profile, const std::vector<TensorUse>& uses,
                                    Bookkeeping costs = {});

}  // namespace brimful::plan
