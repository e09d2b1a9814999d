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

/// Rows of one weight, of all experts that a step uses: expert `i`, as the step's remapped ids call it, has
/// them at data + i * stride.
struct ExpertRows {
  std::byte* data = nullptr;
  std::uint64_t stride = 0;
  std::uint32_t count = 0;
  std::int64_t first_row = 0;
  std::int64_t rows = 0;
};

/// Passes all experts of a step through a stage that holds some rows of each: while one half is computed
/// with, the other is filled, from disk or from the slots that have an expert already.
/// Threading: one thread at a time.
class ExpertTiles {
 public:
  /// An expert of the step, and the slot it lies in, if any.
  struct Expert {
    std::uint32_t number = 0;
    std::optional<std::uint32_t> slot;
  };

  /// The arena has the slots, and the placement's stage. All outlive it.
  ExpertTiles(const model::ModelProfile& profile, const plan::Placement& placement, std::byte* arena,
              PartReader& reader);

  /// Begins a step that uses `parts` of the group, in this order.
  void begin(const plan::ExpertGroup& group, std::span<const std::uint32_t> parts,
             std::vector<Expert> experts);

  /// The next rows; those given out before may be overwritten. Appends to `fresh` what came from disk.
  /// Errors: those of the reads. Requires: !done().
  [[nodiscard]] Result<ExpertRows> next(std::vector<FreshRows>& fresh);

  /// Whether the rows given out last were the last of their weight.
  [[nodiscard]] bool part_ends() const;

 private:
  struct Strip {
    const plan::ExpertPart* part = nullptr;
    std::int64_t first_row = 0;
    std::int64_t rows = 0;
    bool last = false;  // of its part
  };
  [[nodiscard]] Bytes bytes_of(const Strip& strip) const;
  [[nodiscard]] Bytes stride_of(const Strip& strip) const;
  [[nodiscard]] std::byte* region(std::size_t strip, std::size_t expert) const;
  void read(std::size_t strip);

  const model::ModelProfile& profile_;
  std::byte* const arena_;
  std::byte* const stage_;
  const Bytes half_;
  PartReader& reader_;
  std::vector<Expert> experts_;
  std::vector<Strip> strips_;
  std::size_t next_ = 0;
  std::array<std::uint32_t, 2> left_{};  // reads on their way, by half
};

}  // namespace brimful::tier
