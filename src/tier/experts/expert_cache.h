#pragma once

#include <ggml.h>

#include <functional>
#include <memory>
#include <vector>

#include "plan/placement.h"
#include "tier/experts/expert_heat.h"
#include "tier/experts/expert_loans.h"
#include "tier/experts/expert_slots.h"
#include "tier/experts/expert_tiles.h"

namespace brimful::tier {

/// Counts of what steps used. A step is one choice of a router: it uses some experts of one group.
struct ExpertStatistics {
  /// Experts that steps used. An expert counts once for each step of its group that uses it.
  std::uint64_t used = 0;
  /// The number of those experts that were in a slot when their step began. An expert that was there only by
  /// prediction counts as missed.
  std::uint64_t hits = 0;
  /// Bytes of all other used experts: the least that had to be read.
  Bytes missed;
  /// Bytes read from disk, in whole blocks.
  Bytes read;
  /// Experts in no slot that the next step of their group was guessed to use, whether they were read or not.
  std::uint64_t guesses = 0;
  /// The number of guesses that the step then chose.
  std::uint64_t right_guesses = 0;
  /// Experts that were read because a step was predicted to use them.
  std::uint64_t prefetched = 0;
  /// Bytes of the prefetched experts.
  Bytes prefetched_bytes;
  /// Bytes of the prefetched experts that were evicted before a step used them.
  Bytes wasted;

  ExpertStatistics& operator+=(const ExpertStatistics& other);
  /// What happened since `before`, which is an earlier value of the same statistics.
  [[nodiscard]] ExpertStatistics since(const ExpertStatistics& before) const;
};

/// The cache of the experts of all groups. The experts of a step are in slots; where a step uses more experts
/// than its group has slots, they pass through the stage in row tiles instead.
/// Threading: one thread at a time, except for what loans() says. Reads go on between the calls.
class ExpertCache {
 public:
  /// `arena` is the memory that `placement` describes. `ids` has room for the ids of the largest step.
  /// `profile`, `placement`, `arena` and `ids` must outlive the cache.
  ExpertCache(const model::ModelProfile& profile, const plan::Placement& placement, std::byte* arena,
              std::int32_t* ids, std::unique_ptr<DiskReader> reader);

  /// Is called with rows that have just been read, one expert at a time.
  using Rearrange = std::function<Status(std::span<const FreshRows>)>;
  /// Reads an expert into every slot: those of each group that `heat` says were used most, and among equals
  /// the first ones. `rearrange` is called with what was read; `progress` (may be empty) with the bytes read
  /// since its last call, and returning false cancels. Errors: those of the reads and of `rearrange`;
  /// kCancelled.
  [[nodiscard]] Status fill(const Rearrange& rearrange, const std::function<bool(Bytes)>& progress,
                            const ExpertHeat& heat = {});
  /// How much the experts were used until now.
  [[nodiscard]] ExpertHeat heat() const;

  /// Begins a step of `group`. `ids` (I32 [used, tokens], in host memory) picks its experts, and the graph
  /// uses the weights `parts` (indices into ExpertGroup::parts) in this order. When the call returns, the
  /// reads of missing experts are on their way. `again` tells that this is the same choice as in the step
  /// before, for other parts: if that was a step of this group, both count as one step.
  /// Errors: those of the reads; kInternal for an expert that does not exist.
  [[nodiscard]] Status begin(std::uint32_t group, const ggml_tensor& ids,
                             std::span<const std::uint32_t> parts, bool again = false);

  /// A stretch of the rows of one expert, in memory.
  struct Stretch {
    /// Index into ModelProfile::tensors.
    std::uint32_t tensor = 0;
    std::uint32_t expert = 0;
    /// Bytes from the first byte of the expert to the stretch.
    std::uint64_t offset = 0;
    std::span<const std::byte> data;
    /// Whether they have the layout in which the weight is kept. Otherwise they are as in the file.
    bool rearranged = false;
  };
  using TakeBytes = std::function<Status(const Stretch& stretch)>;
  /// Brings experts of a group into memory, and calls `take` with each byte of them; the bytes are valid
  /// during that call. What comes to slots is rearranged by `rearrange` first. Errors: those of the reads, of
  /// `rearrange` and of `take`.
  [[nodiscard]] Status bring(std::uint32_t group, std::span<const std::uint32_t> experts,
                             const Rearrange& rearrange, const TakeBytes& take);

  /// Waits until the experts of the step are in their slots. Does nothing for a step that passes through the
  /// stage. Errors: those of the reads.
  [[nodiscard]] Status finish();
  /// Tells that the rows that fresh() has after finish() are rearranged. From now on they may be lent.
  void settle();

  // Instead of finish() and settle(), a step of one token may take the parts of its experts one by one. The
  // expert at `position` is the one that ids()[position] picks. Requires: in_slots().

  /// Whether all parts of all experts of the step may be used as they are.
  [[nodiscard]] bool complete() const;
  /// Whether the part of the expert is in its slot.
  [[nodiscard]] bool arrived(std::uint32_t part, std::size_t position) const {
    return current_->part(slot_at(position), part).left == 0;
  }
  /// Blocks until one more read has ended. Errors: those of the reads. Requires: something has not arrived.
  [[nodiscard]] Status wait_for_one() { return reader_.wait_for_one(); }
  /// The rows of a part that arrived, if nothing has rearranged them since they were read.
  [[nodiscard]] std::optional<FreshRows> fresh(std::uint32_t part, std::size_t position) const;
  /// Tells that these rows are rearranged. Once it was told of all parts of an expert, that may be lent.
  void settle(std::uint32_t part, std::size_t position);

  /// The ids of the step that pick from ExpertRows: contiguous, [used, tokens].
  [[nodiscard]] std::int32_t* ids() const { return ids_; }

  /// Whether all experts of the step are in slots. If so, the step takes them from rows(), otherwise from
  /// tiles().
  [[nodiscard]] bool in_slots() const { return in_slots_; }
  /// All slots of a part of the step's group.
  [[nodiscard]] ExpertRows rows(std::uint32_t part) const;
  /// The row tiles of the step.
  [[nodiscard]] ExpertTiles& tiles() { return tiles_; }

  /// The rows that finish() found unused since they were read. They must be rearranged before the step uses
  /// them, where their weight is repacked.
  [[nodiscard]] std::span<const FreshRows> fresh() const { return fresh_; }

  /// The experts that the current step uses, in ascending order.
  [[nodiscard]] std::span<const std::uint32_t> used() const { return used_; }
  /// The number of them that had no slot when the step began, or had one only by prediction.
  [[nodiscard]] std::size_t missed() const { return missed_; }

  /// Whether an expert is in a slot, or is being read to one.
  [[nodiscard]] bool has(std::uint32_t group, std::uint32_t expert) const {
    return groups_[group].slots.slot_of(expert).has_value();
  }

  /// Starts to read experts that the next step of the group may use, as far as slots may be given to them.
  /// The caller decides whether that pays. Returns how many of them, from the first on, have slots now.
  std::size_t prefetch(std::uint32_t group, std::span<const std::uint32_t> experts);
  /// Takes note of reads that have ended. Never blocks.
  void poll() { reader_.poll(); }
  /// Whether an expert that prefetch() chose is still being read, as far as poll() knows.
  [[nodiscard]] bool is_late(std::uint32_t group) const;
  /// Tells how many guesses a step's group had, and how many of them were right, for statistics().
  void count_guesses(std::uint64_t guesses, std::uint64_t right);

  /// Lends what is in the slots to another thread.
  [[nodiscard]] ExpertLoans& loans() { return loans_; }

  /// Call this after an error: it waits for the reads in flight, and empties the slots whose contents may be
  /// incomplete.
  void abandon();

  [[nodiscard]] ExpertStatistics statistics() const;

  /// Heap bytes for each expert of a group, whether it has a slot or not.
  [[nodiscard]] static Bytes bytes_per_expert();

 private:
  // State of one slot.
  struct Slot {
    // Whether the slot was read by prediction, and no step has used it since.
    bool prefetched = false;
  };
  // State of one part of the expert in a slot.
  struct Part {
    // Reads of the part that have not ended.
    std::uint32_t left = 0;
    // Whether no step has used the part since it was read: its bytes are not rearranged yet, and perhaps
    // incomplete.
    bool raw = false;
  };
  struct Group {
    std::uint32_t number = 0;
    const plan::ExpertGroup* plan = nullptr;
    ExpertSlots slots;
    std::vector<Slot> state;
    // Of each slot, all parts of the group.
    std::vector<Part> parts;

    [[nodiscard]] std::span<Part> parts_of(std::uint32_t slot) {
      return std::span(parts).subspan(slot * plan->parts.size(), plan->parts.size());
    }
    [[nodiscard]] std::span<const Part> parts_of(std::uint32_t slot) const {
      return std::span(parts).subspan(slot * plan->parts.size(), plan->parts.size());
    }
    [[nodiscard]] Part& part(std::uint32_t slot, std::uint32_t number_of_part) {
      return parts_of(slot)[number_of_part];
    }
    // Whether some bytes of the slot are still being read.
    [[nodiscard]] bool is_read(std::uint32_t slot) const;
    // Whether some part of the slot is raw.
    [[nodiscard]] bool is_raw(std::uint32_t slot) const;
  };

  [[nodiscard]] const std::string& name_of(const Group& group) const;
  [[nodiscard]] static std::vector<std::uint32_t> warm(Group& group, const std::vector<float>* heat);
  void enter(Group& group, bool again);
  [[nodiscard]] Status bring_to_slots(Group& group, std::span<const std::uint32_t> experts,
                                      const Rearrange& rearrange, const TakeBytes& take);
  [[nodiscard]] Status bring_to_stage(Group& group, std::span<const std::uint32_t> experts,
                                      const TakeBytes& take);
  [[nodiscard]] Status find_used(const Group& group, const ggml_tensor& ids);
  [[nodiscard]] Status claim_slots(Group& group);
  void pass_through(Group& group, std::span<const std::uint32_t> parts);
  void number_ids(const Group& group, const ggml_tensor& ids);
  void read(Group& group, std::uint32_t slot, std::uint32_t expert);
  void read_part(Group& group, std::uint32_t part, std::uint32_t slot, std::uint32_t expert);
  void hold_busy(Group& group, const ExpertLoans::Pause& pause);
  [[nodiscard]] Result<std::uint32_t> claim(Group& group, std::uint32_t expert, ExpertLoans::Pause& pause);
  void evict(Group& group, std::uint32_t slot, const ExpertLoans::Pause& pause);
  void list_fresh(const Group& group, std::uint32_t slot);
  [[nodiscard]] FreshRows rows_in(const Group& group, std::uint32_t part, std::uint32_t slot) const;
  [[nodiscard]] std::uint32_t slot_at(std::size_t position) const {
    return static_cast<std::uint32_t>(ids_[position]);
  }
  void settle_parts(Group& group, std::uint32_t slot, std::span<Part> parts, const ExpertLoans::Pause& pause);
  [[nodiscard]] std::byte* slot_data(const plan::ExpertPart& part, std::uint32_t slot) const;

  const model::ModelProfile& profile_;
  std::byte* const arena_;
  std::int32_t* const ids_;
  PartReader reader_;
  ExpertTiles tiles_;
  ExpertLoans loans_;
  std::vector<Group> groups_;

  Group* current_ = nullptr;
  bool in_slots_ = true;
  // The experts of the step, in ascending order.
  std::vector<std::uint32_t> used_;
  // Indexed by expert.
  std::vector<bool> is_used_;
  // Indexed by expert: the id by which the step picks it.
  std::vector<std::int32_t> number_;
  std::vector<FreshRows> fresh_;
  // The experts of the step that are not in slots yet.
  std::vector<std::uint32_t> missing_;
  std::size_t missed_ = 0;
  ExpertStatistics statistics_;
};

}  // namespace brimful::tier
