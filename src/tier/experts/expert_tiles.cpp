#include "tier/experts/expert_tiles.h"

#include <algorithm>
#include <cstring>

#include "base/check.h"

namespace brimful::tier {

ExpertTiles::ExpertTiles(const model::ModelProfile& profile, const plan::Placement& placement,
                         std::byte* arena, PartReader& reader)
    : profile_(profile),
      arena_(arena),
      stage_(arena + placement.stage_place),
      half_(Bytes{placement.stage.value / 2}),
      reader_(reader) {}

void ExpertTiles::begin(const plan::ExpertGroup& group, std::span<const std::uint32_t> parts,
                        std::vector<Expert> experts) {
  experts_ = std::move(experts);
  tiles_.clear();
  next_ = 0;
  const std::uint64_t room = half_.value / experts_.size();
  for (const std::uint32_t number : parts) {
    const plan::ExpertPart& part = group.parts[number];
    const model::TensorInfo& tensor = profile_.tensors[part.tensor];
    const std::int64_t all = tensor.shape[1];
    // What region_of() adds is less than two blocks.
    const std::uint64_t fit =
        (room - std::min(room, 2 * plan::kBlock)) / tensor.row_bytes().value / plan::kRowStep;
    const std::int64_t step = std::max(static_cast<std::int64_t>(fit), std::int64_t{1}) * plan::kRowStep;
    for (std::int64_t row = 0; row < all; row += step) {
      tiles_.push_back({&part, row, std::min(step, all - row), row + step >= all});
    }
    const Bytes largest = tensor.row_bytes() * static_cast<std::uint64_t>(std::min(step, all));
    BRIMFUL_CHECK(plan::region_of(largest) * experts_.size() <= half_);
  }
  read(0);
}

Bytes ExpertTiles::bytes_of(const Tile& tile) const {
  return profile_.tensors[tile.part->tensor].row_bytes() * static_cast<std::uint64_t>(tile.rows);
}

Bytes ExpertTiles::stride_of(const Tile& tile) const {
  return tile.part->needs_bounce_buffer() ? bytes_of(tile) : plan::region_of(bytes_of(tile));
}

std::byte* ExpertTiles::region(std::size_t tile, std::size_t expert) const {
  return stage_ + (tile % 2) * half_.value + expert * stride_of(tiles_[tile]).value;
}

void ExpertTiles::read(std::size_t number) {
  const Tile& tile = tiles_[number];
  const model::TensorInfo& tensor = profile_.tensors[tile.part->tensor];
  for (std::size_t i = 0; i < experts_.size(); ++i) {
    if (experts_[i].slot) continue;
    const auto row = static_cast<std::uint64_t>(experts_[i].number * tensor.shape[1] + tile.first_row);
    reader_.queue({.file = tensor.file,
                   .offset = tensor.offset + row * tensor.row_bytes().value,
                   .bytes = bytes_of(tile),
                   .data = region(number, i) + tile.part->first,
                   .region = tile.part->needs_bounce_buffer() ? nullptr : region(number, i),
                   .left = &left_[number % 2]});
  }
}

Result<ExpertRows> ExpertTiles::next(std::vector<FreshRows>& fresh) {
  BRIMFUL_CHECK(next_ < tiles_.size());
  const std::size_t number = next_++;
  const Tile& tile = tiles_[number];
  const model::TensorInfo& tensor = profile_.tensors[tile.part->tensor];
  BRIMFUL_TRY_VOID(reader_.wait(left_[number % 2]));
  if (next_ < tiles_.size()) read(next_);
  for (std::size_t i = 0; i < experts_.size(); ++i) {
    std::byte* const data = region(number, i) + tile.part->first;
    if (!experts_[i].slot) {
      fresh.push_back({tile.part->tensor, tile.rows, data});
      continue;
    }
    const std::uint64_t row = static_cast<std::uint64_t>(tile.first_row) * tensor.row_bytes().value;
    const std::byte* const slot =
        arena_ + tile.part->place + *experts_[i].slot * tile.part->stride.value + tile.part->first;
    std::memcpy(data, slot + row, bytes_of(tile).value);
  }
  return ExpertRows{region(number, 0) + tile.part->first, stride_of(tile).value,
                    static_cast<std::uint32_t>(experts_.size()), tile.first_row, tile.rows};
}

bool ExpertTiles::part_ends() const { return tiles_[next_ - 1].last; }

}  // namespace brimful::tier
