#pragma once

#include <ggml.h>

#include <memory>
#include <optional>
#include <span>
#include <vector>

#include "memory/region.h"
#include "plan/placement.h"
#include "tier/io/disk_reader.h"

namespace brimful::tier {

/// Rows of a weight that have just been read, and lie there as in the file.
struct FreshRows {
  std::uint32_t tensor = 0;
  std::int64_t rows = 0;
  std::byte* data = nullptr;
};

/// The placed weights of one model: where the units of each tensor lie.
/// Built from a Placement; read-only until the next one.
class WeightTable {
 public:
  explicit WeightTable(const model::ModelProfile& profile)
      : profile_(profile),
        first_unit_(profile.tensors.size()),
        repacked_(profile.tensors.size()),
        expert_part_(profile.tensors.size()) {}

  [[nodiscard]] const model::ModelProfile& profile() const { return profile_; }

  /// Takes the placement, the uses and the arena it was made for. `arena` must outlive the table.
  void set(plan::Placement placement, const std::vector<plan::TensorUse>& uses, std::byte* arena);

  void clear() { set({}, {}, nullptr); }

  /// The units of a tensor, in row order; none for one that is only gathered from disk or not used.
  [[nodiscard]] std::span<const plan::Unit> units(std::uint32_t tensor) const;
  [[nodiscard]] std::span<std::byte> arena() const { return {arena_, placement_.arena_bytes().value}; }
  [[nodiscard]] std::byte* address(const plan::Unit& unit) const { return arena_ + unit.place; }
  [[nodiscard]] const plan::Placement& placement() const { return placement_; }
  /// The whole tensor in one piece, or null.
  [[nodiscard]] std::byte* resident(std::uint32_t tensor) const;
  /// So many bytes of a file from `offset` on, as they are there; null where some are not in memory, or are
  /// in another order.
  [[nodiscard]] const std::byte* in_file_order(std::uint32_t file, std::uint64_t offset,
                                               std::uint64_t size) const;
  /// The expert group that a tensor is in, and which part of it.
  struct Part {
    std::uint32_t group = 0;
    std::uint32_t part = 0;
  };
  [[nodiscard]] std::optional<Part> expert_part(std::uint32_t tensor) const { return expert_part_[tensor]; }
  /// Whether it is computed with in ggml-cpu's own layout instead of the file's.
  [[nodiscard]] bool repacked(std::uint32_t tensor) const { return repacked_[tensor]; }

 private:
  const model::ModelProfile& profile_;
  plan::Placement placement_;
  std::byte* arena_ = nullptr;
  bool any_repacked_ = false;
  // By tensor:
  std::vector<std::pair<std::uint32_t, std::uint32_t>> first_unit_;  // first unit and count
  std::vector<bool> repacked_;
  std::vector<std::optional<Part>> expert_part_;
};

}  // namespace brimful::tier
