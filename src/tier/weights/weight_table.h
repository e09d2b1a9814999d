#pragma once

#include <ggml.h>

#include <algorithm>
#include <memory>
#include <optional>
#include <span>
#include <vector>

#include "memory/region.h"
#include "plan/placement.h"
#include "tier/io/disk_reader.h"

namespace brimful::tier {

/// Rows of a weight that have just been read to `data`, in the layout of the file.
struct FreshRows {
  /// Index into ModelProfile::tensors.
  std::uint32_t tensor = 0;
  std::int64_t rows = 0;
  std::byte* data = nullptr;
};

/// Where the units of each tensor lie: the placed weights of one model. set() fills the table from a
/// Placement; from then on it is only read, until the next set().
class WeightTable {
 public:
  explicit WeightTable(const model::ModelProfile& profile);

  [[nodiscard]] const model::ModelProfile& profile() const { return profile_; }

  /// Takes over the placement. `uses` must be the ones that it was made for, and `arena` the memory that it
  /// describes. `arena` must outlive the table.
  void set(plan::Placement placement, const std::vector<plan::TensorUse>& uses, std::byte* arena);

  void clear() { set({}, {}, nullptr); }

  /// The units of a tensor, in row order. Empty for a tensor that is not used, is only gathered from disk, or
  /// is part of an expert group.
  [[nodiscard]] std::span<const plan::Unit> units(std::uint32_t tensor) const;
  /// The whole arena.
  [[nodiscard]] std::span<std::byte> arena() const { return {arena_, placement_.arena_bytes().value}; }
  /// The address of a resident unit.
  [[nodiscard]] std::byte* address(const plan::Unit& unit) const { return arena_ + unit.place; }
  [[nodiscard]] const plan::Placement& placement() const { return placement_; }
  /// The address of the whole tensor in one piece if all its units are resident; null otherwise.
  [[nodiscard]] std::byte* resident(std::uint32_t tensor) const;
  /// A stretch of the bytes of a weight, in memory.
  struct Stretch {
    /// Index into ModelProfile::tensors.
    std::uint32_t tensor = 0;
    /// Bytes from the weight's first byte in the file to the stretch.
    std::uint64_t offset = 0;
    /// The address of the stretch. Where the weight is repacked, the address that its first byte would have
    /// in the file's layout: the groups of rows lie in the file's order.
    const std::byte* data = nullptr;
  };
  /// The weight with the `size` bytes of a file from `offset` on, and where it is in memory. Unset where no
  /// weight has all of these bytes, where some of them are not in memory, and where only a part of the rows
  /// that are interleaved with them is.
  [[nodiscard]] std::optional<Stretch> resident_bytes(std::uint32_t file, std::uint64_t offset,
                                                      std::uint64_t size) const;
  /// A place in an expert group: the index into Placement::groups, and into ExpertGroup::parts.
  struct Part {
    std::uint32_t group = 0;
    std::uint32_t part = 0;
  };
  /// The expert group that a tensor is in, and which part of it the tensor is. Unset for a tensor in no
  /// group.
  [[nodiscard]] std::optional<Part> expert_part(std::uint32_t tensor) const { return expert_part_[tensor]; }
  /// Whether the tensor is kept in the layout of ggml-cpu's own kernels instead of the file's.
  [[nodiscard]] bool repacked(std::uint32_t tensor) const { return repacked_[tensor]; }
  [[nodiscard]] bool any_repacked() const { return std::ranges::find(repacked_, true) != repacked_.end(); }

 private:
  const model::ModelProfile& profile_;
  plan::Placement placement_;
  std::byte* arena_ = nullptr;
  // All tensors, in the order of file and offset.
  std::vector<std::uint32_t> by_offset_;
  // These are indexed by tensor.
  std::vector<std::pair<std::uint32_t, std::uint32_t>> first_unit_;  // first unit and count
  std::vector<bool> repacked_;
  std::vector<std::optional<Part>> expert_part_;
};

}  // namespace brimful::tier
