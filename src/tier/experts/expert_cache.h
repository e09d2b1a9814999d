#pragma once

#include <ggml-impl.h>

#include <functional>
#include <memory>
#include <vector>

#include "plan/placement.h"
#include "tier/experts/expert_slots.h"
#include "tier/experts/expert_tiles.h"

namespace brimful::tier {

struct ExpertStatistics {
  std::uint64_t used = 0;        ///< experts, once for each step of a group that used them
  std::uint64_t hits = 0;        ///< of these: in a slot
  Bytes missed;                  ///< what the others take: the least that had to be read
  Bytes read;                    ///< from disk, whole blocks
  std::uint64_t prefetched = 0;  ///< experts read because a step was predicted to use them
  Bytes prefetched_bytes;
  Bytes wasted;  ///< of these: of experts evicted before a step used them

  ExpertStatistics& operator+=(const ExpertStatistics& other);
  /// What happened since `before`.
  [[nodiscard]] ExpertStatistics since(const ExpertStatistics& before) const;
};

/// The experts of all groups: kept in slots, or passing through the stage where a step uses more than those.
/// Threading: one thread at a time. Reads go on between the calls.
class ExpertCache {
 public:
  /// `arena`: the placement's. `ids`: room for those of the largest step. All outlive it.
  ExpertCache(const model::ModelProfile& profile, const plan::Placement& placement, std::byte* arena,
              std::int32_t* ids, std::unique_ptr<DiskReader> reader);

  /// Puts an expert into every slot. `rearrange`: called with what has been read, a part at a time;
  /// `progress`: with the bytes read since the last call, false cancels.
  using Rearrange = std::function<Status(std::span<const FreshRows>)>;
  [[nodiscard]] Status fill(const Rearrange& rearrange, const std::function<bool(Bytes)>& progress);

  /// Begins a step of a group: `ids` (I32 [used, tokens]) picks experts, of which `parts` will be used in
  /// this order. Reads of what is missing are on their way then. `again`: the same choice as in the step
  /// before; where that was the group's, for other parts, both count as one. Errors: those of the reads;
  /// kInternal for an expert that does not exist.
  [[nodiscard]] Status begin(std::uint32_t group, const ggml_tensor& ids,
                             std::span<const std::uint32_t> parts, bool again = false);

  /// Called with a stretch of an expert's bytes of one weight, `offset` behind its first one.
  using TakeBytes = std::function<void(std::uint32_t tensor, std::uint32_t expert, std::uint64_t offset,
                                       std::span<const std::byte> bytes)>;
  /// Brings experts of a group into memory, for as long as `take` is called with each byte of them.
  /// Errors: those of the reads. Requires: none is rearranged.
  [[nodiscard]] Status bring(std::uint32_t group, std::span<const std::uint32_t> experts,
                             const TakeBytes& take);

  /// Waits until the step's experts are in their slots, where it is computed in slots.
  [[nodiscard]] Status finish();

  /// The step's ids, by which ExpertRows are picked: contiguous [used, tokens].
  [[nodiscard]] std::int32_t* ids() const { return ids_; }

  /// Whether the step's experts are all in slots: then rows(), else strips().
  [[nodiscard]] bool in_slots() const { return in_slots_; }
  [[nodiscard]] ExpertRows rows(std::uint32_t part) const;
  [[nodiscard]] ExpertTiles& strips() { return strips_; }

  /// What must be rearranged before the step uses it.
  [[nodiscard]] std::span<const FreshRows> fresh() const { return fresh_; }

  /// The experts that the current step uses, ascending.
  [[nodiscard]] std::span<const std::uint32_t> used() const { return used_; }

  /// Whether an expert has a slot, or is on its way to it.
  [[nodiscard]] bool has(std::uint32_t group, std::uint32_t expert) const {
    return groups_[group].slots.slot_of(expert).has_value();
  }

  /// Starts to read experts that the next step of the group may use. Whether that pays is the caller's care.
  void prefetch(std::uint32_t group, std::span<const std::uint32_t> experts);

  /// After an error: waits for what is on its way, and forgets what may be incomplete.
  void abandon();

  [[nodiscard]] ExpertStatistics statistics() const;

  /// Heap for each expert of a group, whether it has a slot or not.
  [[nodiscard]] static Bytes bytes_per_expert();

 private:
  struct Slot {
    std::uint32_t left = 0;   // reads on their way
    bool raw = false;         // never used since it was read: as in the file, perhaps incomplete
    bool prefetched = false;  // and that by prediction
  };
  struct Group {
    const plan::ExpertGroup* plan;
    ExpertSlots slots;
    std::vector<Slot> state;
  };

  void enter(Group& group, bool again);
  [[nodiscard]] Status bring_to_slots(Group& group, std::span<const std::uint32_t> experts,
                                      const TakeBytes& take);
  [[nodiscard]] Status bring_to_stage(Group& group, std::span<const std::uint32_t> experts,
                                      const TakeBytes& take);
  [[nodiscard]] Status find_used(const Group& group, const ggml_tensor& ids);
  [[nodiscard]] Status claim_slots(Group& group);
  void pass_through(Group& group, std::span<const std::uint32_t> parts);
  void number_ids(const Group& group, const ggml_tensor& ids);
  void read(Group& group, std::uint32_t slot, std::uint32_t expert);
  void hold_arriving(Group& group);
  void note_eviction(Group& group, std::uint32_t slot);
  void list_fresh(const Group& group, std::uint32_t slot);
  [[nodiscard]] std::byte* slot_data(const plan::ExpertPart& part, std::uint32_t slot) const;

  const model::ModelProfile& profile_;
  std::byte* const arena_;
  std::int32_t* const ids_;
  PartReader reader_;
  ExpertTiles strips_;
  std::vector<Group> groups_;

  Group* current_ = nullptr;
  bool in_slots_ = true;
  std::vector<std::uint32_t> used_;   // experts of the step, ascending
  std::vector<bool> is_used_;         // by expert
  std::vector<std::int32_t> number_;  // by expert: its remapped id
  std::vector<FreshRows> fresh_;
  ExpertStatistics statistics_;
};

}  // namespace brimful::tier
