#include "tier/experts/expert_loans.h"

#include <algorithm>
#include <tuple>

#include "base/check.h"

namespace brimful::tier {

ExpertLoans::ExpertLoans(const model::ModelProfile& profile, const plan::Placement& placement,
                         std::byte* arena)
    : arena_(arena) {
  for (std::uint32_t g = 0; g < placement.groups.size(); ++g) {
    const plan::ExpertGroup& group = placement.groups[g];
    groups_.push_back({std::vector<std::uint32_t>(group.experts, kNone), std::vector<Slot>(group.slots)});
    for (const plan::ExpertPart& part : group.parts) {
      const model::TensorInfo& tensor = profile.tensors[part.tensor];
      weights_.push_back({tensor.file, tensor.offset, g, &part});
    }
  }
  std::ranges::sort(weights_, {},
                    [](const Weight& weight) { return std::tuple(weight.file, weight.offset); });
}

std::optional<ExpertLoans::Loan> ExpertLoans::lend(std::uint32_t file, std::uint64_t offset,
                                                   std::uint64_t size) {
  const auto behind =
      std::ranges::upper_bound(weights_, std::tuple(file, offset), {},
                               [](const Weight& weight) { return std::tuple(weight.file, weight.offset); });
  if (behind == weights_.begin()) return std::nullopt;
  const Weight& weight = *std::prev(behind);
  const std::uint64_t bytes = weight.part->bytes.value;
  const std::uint64_t expert = (offset - weight.offset) / bytes;
  const std::uint64_t within = (offset - weight.offset) % bytes;
  Group& group = groups_[weight.group];
  if (weight.file != file || expert >= group.slot_of.size() || within + size > bytes) return std::nullopt;
  const std::lock_guard lock(mutex_);
  const std::uint32_t slot = group.slot_of[expert];
  if (slot == kNone) return std::nullopt;
  ++group.slots[slot].lent;
  const plan::ExpertPart& part = *weight.part;
  const std::byte* const data = arena_ + part.place + slot * part.stride.value + part.first + within;
  return Loan{{part.tensor, offset - weight.offset, data}, weight.group, slot};
}

void ExpertLoans::give_back(const Loan& loan) {
  {
    const std::lock_guard lock(mutex_);
    --groups_[loan.group].slots[loan.slot].lent;
    ++returns_;
  }
  returned_.notify_all();
}

bool ExpertLoans::is_lent(const Pause&, std::uint32_t group, std::uint32_t slot) const {
  return groups_[group].slots[slot].lent > 0;
}

void ExpertLoans::offer(const Pause& pause, std::uint32_t group, std::uint32_t slot, std::uint32_t expert) {
  withdraw(pause, group, slot);
  groups_[group].slots[slot].expert = expert;
  groups_[group].slot_of[expert] = slot;
}

void ExpertLoans::withdraw(const Pause&, std::uint32_t group, std::uint32_t slot) {
  Slot& which = groups_[group].slots[slot];
  if (which.expert == kNone) return;
  BRIMFUL_CHECK(which.lent == 0);
  groups_[group].slot_of[which.expert] = kNone;
  which.expert = kNone;
}

void ExpertLoans::wait_for_return(Pause& pause) {
  returned_.wait(pause, [this, before = returns_] { return returns_ != before; });
}

}  // namespace brimful::tier
