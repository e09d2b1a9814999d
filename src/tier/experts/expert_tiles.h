#pragma once

#include <array>
#include <optional>
#include <span>
#include <vector>

#include "model/model_profile.h"
#include "plan/placement.h"
#include "tier/io/part_reader.h"
#include "tier/weights/weight_table.h"

namespace brimful::tier {

/// A row tile: the same rows of one weight, for several experts. Expert `i`, as the remapped ids of the step
/// number it, has its rows at data + i * stride.
struct ExpertRows {
  std::byte* data = nullptr;
  /// Bytes from one expert to the next.
  std::uint64_t stride = 0;
  /// Number of experts.
  std::uint32_t count = 0;
  /// The first of the rows, counted within one expert.
  std::int64_t first_row = 0;
  /// Number of rows of each expert.
  std::int64_t rows = 0;
};

/// Passes all experts of a step through a stage that holds some rows of each. While the compute uses one half
/// of the stage, the other half is filled, from disk or from the slots of experts that have one.
/// Threading: one thread at a time.
class ExpertTiles {
 public:
  /// An expert of the step, and its slot. `slot` is unset where the expert must be read from disk.
  struct Expert {
    std::uint32_t number = 0;
    std::optional<std::uint32_t> slot;
  };

  /// `arena` is the memory that `placement` describes; it has the slots and the stage. All arguments must
  /// outlive this object.
  ExpertTiles(const model::ModelProfile& profile, const plan::Placement& placement, std::byte* arena,
              PartReader& reader);

  /// Begins a step that uses the weights `parts` of the group (indices into ExpertGroup::parts), in this
  /// order, and starts the first reads.
  void begin(const plan::ExpertGroup& group, std::span<const std::uint32_t> parts,
             std::vector<Expert> experts);

  /// Returns the next row tile. The tile of the call before may be overwritten from now on. Appends to
  /// `fresh` the rows that came from disk. Errors: those of the reads. Requires: the step has another tile.
  [[nodiscard]] Result<ExpertRows> next(std::vector<FreshRows>& fresh);

  /// Whether the tile that next() returned last was the last one of its weight.
  [[nodiscard]] bool part_ends() const;

 private:
  struct Tile {
    const plan::ExpertPart* part = nullptr;
    std::int64_t first_row = 0;
    std::int64_t rows = 0;
    // Whether it is the last tile of its part.
    bool last = false;
  };
  [[nodiscard]] Bytes bytes_of(const Tile& tile) const;
  [[nodiscard]] Bytes stride_of(const Tile& tile) const;
  [[nodiscard]] std::byte* region(std::size_t tile, std::size_t expert) const;
  void read(std::size_t tile);

  const model::ModelProfile& profile_;
  std::byte* const arena_;
  std::byte* const stage_;
  const Bytes half_;
  PartReader& reader_;
  std::vector<Expert> experts_;
  std::vector<Tile> tiles_;
  std::size_t next_ = 0;
  // Reads that have not ended, for each half of the stage.
  std::array<std::uint32_t, 2> left_{};
};

}  // namespace brimful::tier
