#include "tier/weights/weight_table.h"

#include <algorithm>

namespace brimful::tier {

void WeightTable::set(plan::Placement placement, const std::vector<plan::TensorUse>& uses, std::byte* arena) {
  placement_ = std::move(placement);
  arena_ = arena;
  any_repacked_ = false;
  std::fill(repacked_.begin(), repacked_.end(), false);
  std::fill(expert_part_.begin(), expert_part_.end(), std::nullopt);
  std::fill(first_unit_.begin(), first_unit_.end(), std::pair<std::uint32_t, std::uint32_t>{0, 0});
  for (std::uint32_t i = 0; i < placement_.units.size(); ++i) {
    auto& [first, count] = first_unit_[placement_.units[i].tensor];
    if (count++ == 0) first = i;
  }
  for (std::uint32_t g = 0; g < placement_.groups.size(); ++g) {
    const auto& parts = placement_.groups[g].parts;
    for (std::uint32_t p = 0; p < parts.size(); ++p) expert_part_[parts[p].tensor] = Part{g, p};
  }
  for (const plan::TensorUse& use : uses) {
    repacked_[use.tensor] = use.repacked;
    any_repacked_ = any_repacked_ || use.repacked;
  }
}

const std::byte* WeightTable::in_file_order(std::uint32_t file, std::uint64_t offset,
                                            std::uint64_t size) const {
  if (any_repacked_) return nullptr;
  const auto extent = std::ranges::find_if(placement_.extents, [&](const plan::Extent& e) {
    return e.file == file && e.offset <= offset && offset + size <= e.offset + e.size.value;
  });
  if (extent == placement_.extents.end()) return nullptr;
  return arena_ + extent->place + (offset - extent->offset);
}

std::span<const plan::Unit> WeightTable::units(std::uint32_t tensor) const {
  const auto [first, count] = first_unit_[tensor];
  return std::span(placement_.units).subspan(first, count);
}

std::byte* WeightTable::resident(std::uint32_t tensor) const {
  const auto all = units(tensor);
  if (all.empty()) return nullptr;
  // Units of one tensor are neighbours on disk, so resident ones share an extent and touch.
  const bool whole =
      std::all_of(all.begin(), all.end(), [](const plan::Unit& unit) { return unit.resident; });
  return whole ? address(all.front()) : nullptr;
}

}  // namespace brimful::tier
