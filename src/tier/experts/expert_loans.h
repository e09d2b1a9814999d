#pragma once

#include <condition_variable>
#include <cstddef>
#include <cstdint>
#include <mutex>
#include <optional>
#include <vector>

#include "model/model_profile.h"
#include "plan/placement.h"
#include "tier/weights/weight_table.h"

namespace brimful::tier {

/// Lends the bytes of experts in slots to a thread that sends them to a device, while another thread computes
/// and gives the slots to other experts. What is lent stays in its slot until it is given back. Threading:
/// lend() and give_back() may be called by another thread than the other functions.
class ExpertLoans {
 public:
  /// `arena` is the memory that `placement` describes. All arguments must outlive this object.
  ExpertLoans(const model::ModelProfile& profile, const plan::Placement& placement, std::byte* arena);

  /// Bytes in a slot.
  struct Loan {
    WeightTable::Stretch bytes;
    std::uint32_t group = 0;
    std::uint32_t slot = 0;
  };
  /// Lends `size` bytes of a file from `offset` on. Unset where they do not belong to one expert, or where
  /// that expert is in no slot.
  [[nodiscard]] std::optional<Loan> lend(std::uint32_t file, std::uint64_t offset, std::uint64_t size);
  void give_back(const Loan& loan);

  /// Heap bytes for each expert of a group.
  [[nodiscard]] static constexpr Bytes bytes_per_expert() {
    return Bytes{sizeof(std::uint32_t) + sizeof(Slot)};
  }

  /// As long as it lives, nothing more is lent, and nothing is given back.
  using Pause = std::unique_lock<std::mutex>;
  [[nodiscard]] Pause pause() { return Pause(mutex_); }
  [[nodiscard]] bool is_lent(const Pause& pause, std::uint32_t group, std::uint32_t slot) const;
  /// Tells that all bytes of `expert` are in `slot`, in the layout in which its weights are kept: it may be
  /// lent from now on.
  void offer(const Pause& pause, std::uint32_t group, std::uint32_t slot, std::uint32_t expert);
  /// Tells that the slot is for another expert: it is not lent until it is offered again. Requires: it is not
  /// lent.
  void withdraw(const Pause& pause, std::uint32_t group, std::uint32_t slot);
  /// Blocks until something is given back; the pause is interrupted meanwhile. Requires: something is lent.
  void wait_for_return(Pause& pause);

 private:
  static constexpr std::uint32_t kNone = UINT32_MAX;
  /// A weight whose experts have slots.
  struct Weight {
    std::uint32_t file = 0;
    std::uint64_t offset = 0;
    std::uint32_t group = 0;
    const plan::ExpertPart* part = nullptr;
  };
  struct Slot {
    std::uint32_t expert = kNone;
    std::uint32_t lent = 0;
  };
  struct Group {
    std::vector<std::uint32_t> slot_of;  // indexed by expert
    std::vector<Slot> slots;
  };

  std::byte* const arena_;
  std::vector<Weight> weights_;  // in the order of file and offset
  std::mutex mutex_;
  std::condition_variable returned_;
  std::uint64_t returns_ = 0;
  std::vector<Group> groups_;
};

}  // namespace brimful::tier
