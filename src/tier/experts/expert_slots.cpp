#include "tier/experts/expert_slots.h"

#include <cmath>

#include "base/check.h"

namespace brimful::tier {

ExpertSlots::ExpertSlots(std::uint32_t experts, std::uint32_t slots, double half_life)
    : decay_(std::exp2(-1.0 / half_life)), experts_(experts), expert_in_(slots, kNone), held_(slots, false) {}

std::optional<std::uint32_t> ExpertSlots::slot_of(std::uint32_t expert) const {
  const std::uint32_t slot = experts_[expert].slot;
  return slot == kNone ? std::nullopt : std::optional(slot);
}

std::optional<std::uint32_t> ExpertSlots::expert_in(std::uint32_t slot) const {
  return expert_in_[slot] == kNone ? std::nullopt : std::optional(expert_in_[slot]);
}

double ExpertSlots::worth(std::uint32_t expert) const {
  const Expert& e = experts_[expert];
  return e.worth * std::pow(decay_, static_cast<double>(step_ - e.last_step));
}

void ExpertSlots::begin_step(std::span<const std::uint32_t> used) {
  ++step_;
  for (const std::uint32_t expert : used) {
    experts_[expert].worth = worth(expert) + 1;
    experts_[expert].last_step = step_;
  }
}

/// The slot whose expert is worth least, among those that may be evicted; an empty slot if there is one.
std::optional<std::uint32_t> ExpertSlots::least_worth() const {
  std::optional<std::uint32_t> best;
  double least = 0;
  for (std::uint32_t slot = 0; slot < slots(); ++slot) {
    if (held_[slot]) continue;
    const std::uint32_t holds = expert_in_[slot];
    if (holds != kNone && experts_[holds].last_step == step_ && step_ > 0) continue;
    const double value = holds == kNone ? -1 : worth(holds);
    if (best && value >= least) continue;
    best = slot;
    least = value;
  }
  return best;
}

std::optional<std::uint32_t> ExpertSlots::claim(std::uint32_t expert) {
  BRIMFUL_CHECK(experts_[expert].slot == kNone);
  const auto slot = least_worth();
  if (!slot) return std::nullopt;
  empty(*slot);
  expert_in_[*slot] = expert;
  experts_[expert].slot = *slot;
  return slot;
}

bool ExpertSlots::outweighs(std::uint32_t expert) const {
  // Otherwise, two experts that are used about equally often would take turns.
  constexpr double kMoreUses = 2;
  constexpr double kTimesMore = 1.5;
  const auto slot = least_worth();
  if (!slot) return false;
  const auto holds = expert_in(*slot);
  return !holds || worth(expert) > worth(*holds) * kTimesMore + kMoreUses;
}

void ExpertSlots::empty(std::uint32_t slot) {
  if (expert_in_[slot] != kNone) experts_[expert_in_[slot]].slot = kNone;
  expert_in_[slot] = kNone;
}

}  // namespace brimful::tier
