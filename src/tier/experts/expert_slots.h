#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <vector>

namespace brimful::tier {

/// Which experts of one group lie in which of its slots. It only keeps account; it moves no bytes.
/// The worth of an expert is the number of steps that used it, where a use counts half after `half_life` more
/// steps (docs/adr/0008 has the policies that were compared).
/// Threading: one thread at a time.
class ExpertSlots {
 public:
  /// `half_life` is a number of steps.
  ExpertSlots(std::uint32_t experts, std::uint32_t slots, double half_life);

  [[nodiscard]] std::uint32_t slots() const { return static_cast<std::uint32_t>(expert_in_.size()); }
  /// The slot of an expert. Unset if it has none.
  [[nodiscard]] std::optional<std::uint32_t> slot_of(std::uint32_t expert) const;
  /// The expert in a slot. Unset if the slot is empty.
  [[nodiscard]] std::optional<std::uint32_t> expert_in(std::uint32_t slot) const;

  /// Begins a step that uses these experts. Until the next step, none of them is evicted.
  void begin_step(std::span<const std::uint32_t> used);

  /// Protects a slot, besides those of the step: while it is held, no other expert gets it.
  void hold(std::uint32_t slot, bool held) { held_[slot] = held; }

  /// Gives a slot to `expert`: an empty one if there is one, otherwise the slot of the expert that is worth
  /// least, which is evicted. Unset where every slot is held or used by the step. Requires: `expert` has no
  /// slot.
  [[nodiscard]] std::optional<std::uint32_t> claim(std::uint32_t expert);

  /// Whether `expert` should get a slot from another expert: it was used much more than the expert that is
  /// worth least among those that may be evicted. Always true where a slot is empty. False where no slot may
  /// be taken.
  [[nodiscard]] bool outweighs(std::uint32_t expert) const;

  /// The number of steps that used the expert, where a use counts half after each half-life.
  [[nodiscard]] double worth(std::uint32_t expert) const;
  /// Sets the worth of an expert that no step has used yet.
  void set_worth(std::uint32_t expert, double worth) { experts_[expert].worth = worth; }

  /// Marks a slot as empty: its bytes are no longer those of an expert.
  void empty(std::uint32_t slot);

 private:
  [[nodiscard]] std::optional<std::uint32_t> least_worth() const;

  static constexpr std::uint32_t kNone = UINT32_MAX;
  struct Expert {
    std::uint32_t slot = kNone;
    std::uint64_t last_step = 0;
    // The worth at the time of last_step.
    double worth = 0;
  };
  // The factor by which a worth shrinks in one step.
  const double decay_;
  std::uint64_t step_ = 0;
  std::vector<Expert> experts_;
  std::vector<std::uint32_t> expert_in_;
  std::vector<bool> held_;
};

}  // namespace brimful::tier
