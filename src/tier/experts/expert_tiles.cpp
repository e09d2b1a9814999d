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
  strips_.clear();
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
      strips_.push_back({&part, row, std::min(step, all - row), row + step >= all});
    }
    const Bytes largest = tensor.row_bytes() * static_cast<std::uint64_t>(std::min(step, all));
    BRIMFUL_CHECK(plan::region_of(largest) * experts_.size() <= half_);
  }
  read(0);
}

Bytes ExpertTiles::bytes_of(const Strip& strip) const {
  return profile_.tensors[strip.part->tensor].row_bytes() * static_cast<std::uint64_t>(strip.rows);
}

Bytes ExpertTiles::stride_of(const Strip& strip) const {
  return strip.part->lands() ? bytes_of(strip) : plan::region_of(bytes_of(strip));
}

std::byte* ExpertTiles::region(std::size_t strip, std::size_t expert) const {
  return stage_ + (strip % 2) * half_.value + expert * stride_of(strips_[strip]).value;
}

void ExpertTiles::read(std::size_t number) {
  const Strip& strip = strips_[number];
  const model::TensorInfo& tensor = profile_.tensors[strip.part->tensor];
  for (std::size_t i = 0; i < experts_.size(); ++i) {
    if (experts_[i].slot) continue;
    const auto row = static_cast<std::uint64_t>(experts_[i].number * tensor.shape[1] + strip.first_row);
    reader_.queue({.file = tensor.file,
                   .offset = tensor.offset + row * tensor.row_bytes().value,
                   .bytes = bytes_of(strip),
                   .data = region(number, i) + strip.part->first,
                   .region = strip.part->lands() ? nullptr : region(number, i),
                   .left = &left_[number % 2]});
  }
}

Result<ExpertRows> ExpertTiles::next(std::vector<FreshRows>& fresh) {
  BRIMFUL_CHECK(next_ < strips_.size());
  const std::size_t number = next_++;
  const Strip& strip = strips_[number];
  const model::TensorInfo& tensor = profile_.tensors[strip.part->tensor];
  BRIMFUL_TRY_VOID(reader_.wait(left_[number % 2]));
  if (next_ < strips_.size()) read(next_);
  for (std::size_t i = 0; i < experts_.size(); ++i) {
    std::byte* const data = region(number, i) + strip.part->first;
    if (!experts_[i].slot) {
      fresh.push_back({strip.part->tensor, strip.rows, data});
      continue;
    }
    const std::uint64_t row = static_cast<std::uint64_t>(strip.first_row) * tensor.row_bytes().value;
    const std::byte* const slot =
        arena_ + strip.part->place + *experts_[i].slot * strip.part->stride.value + strip.part->first;
    std::memcpy(data, slot + row, bytes_of(strip).value);
  }
  return ExpertRows{region(number, 0) + strip.part->first, stride_of(strip).value,
                    static_cast<std::uint32_t>(experts_.size()), strip.first_row, strip.rows};
}

bool ExpertTiles::part_ends() const { return strips_[next_ - 1].last; }

}  // namespace brimful::tier
