#include "tier/weights/weight_table.h"

#include <algorithm>
#include <numeric>
#include <tuple>

namespace brimful::tier {

WeightTable::WeightTable(const model::ModelProfile& profile)
    : profile_(profile),
      by_offset_(profile.tensors.size()),
      first_unit_(profile.tensors.size()),
      repacked_(profile.tensors.size()),
      expert_part_(profile.tensors.size()) {
  std::iota(by_offset_.begin(), by_offset_.end(), 0U);
  std::ranges::sort(by_offset_, {}, [&](std::uint32_t i) {
    return std::tuple(profile.tensors[i].file, profile.tensors[i].offset);
  });
}

void WeightTable::set(plan::Placement placement, const std::vector<plan::TensorUse>& uses, std::byte* arena) {
  placement_ = std::move(placement);
  arena_ = arena;
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
  for (const plan::TensorUse& use : uses) repacked_[use.tensor] = use.repacked;
}

std::optional<WeightTable::Stretch> WeightTable::resident_bytes(std::uint32_t file, std::uint64_t offset,
                                                                std::uint64_t size) const {
  const auto begin_of = [&](std::uint32_t i) {
    return std::tuple(profile_.tensors[i].file, profile_.tensors[i].offset);
  };
  const auto behind = std::ranges::upper_bound(by_offset_, std::tuple(file, offset), {}, begin_of);
  if (behind == by_offset_.begin()) return std::nullopt;
  const std::uint32_t tensor = *std::prev(behind);
  const model::TensorInfo& info = profile_.tensors[tensor];
  if (info.file != file || offset + size > info.offset + info.bytes.value) return std::nullopt;
  // Extents also hold bytes of neighbours, up to the next whole block. These are in no unit of the extent,
  // and so they are not repacked.
  if (repacked_[tensor]) {
    for (const plan::Unit& unit : units(tensor)) {
      const bool touched = unit.offset < offset + size && offset < unit.offset + unit.bytes.value;
      if (touched && !unit.resident) return std::nullopt;
    }
  }
  const auto extent = std::ranges::find_if(placement_.extents, [&](const plan::Extent& e) {
    return e.file == file && e.offset <= offset && offset + size <= e.offset + e.size.value;
  });
  if (extent == placement_.extents.end()) return std::nullopt;
  return Stretch{tensor, offset - info.offset, arena_ + extent->place + (offset - extent->offset)};
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
