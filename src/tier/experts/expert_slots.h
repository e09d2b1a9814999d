#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <vector>

namespace brimful::tier {

/// Which experts of one group lie in which of its slots. Keeps account only; moves nothing.
/// What an expert is worth is how often it was used, where a use counts half after `half_life` steps
/// (docs/adr/0008 has the policies that were compared).
class ExpertSlots {
 public:
  ExpertSlots(std::uint32_t experts, std::uint32_t slots, double half_life);

  [[nodiscard]] std::uint32_t slots() const { return static_cast<std::uint32_t>(expert_in_.size()); }
  [[nodiscard]] std::optional<std::uint32_t> slot_of(std::uint32_t expert) const;
  [[nodiscard]] std::optional<std::uint32_t> expert_in(std::uint32_t slot) const;

  /// A step uses these experts: from now on none of them is evicted, until the next step.
  void begin_step(std::span<const std::uint32_t> used);

  /// Besides the step's own: an expert in a held slot is not evicted either.
  void hold(std::uint32_t slot, bool held) { held_[slot] = held; }

  /// Gives `expert`, which has none, a slot: an empty one, else that of the expert worth least. Nothing where
  /// every slot is the step's or held.
  [[nodiscard]] std::optional<std::uint32_t> claim(std::uint32_t expert);

  /// Whether `expert` was used so much more than the expert worth least, of those that may be evicted, that a
  /// slot should change hands; and always where one is empty.
  [[nodiscard]] bool outweighs(std::uint32_t expert) const;

  /// The slot's bytes are no longer an expert's.
  void empty(std::uint32_t slot);

 private:
  [[nodiscard]] std::optional<std::uint32_t> least_worth() const;
  [[nodiscard]] double worth(std::uint32_t expert) const;

  static constexpr std::uint32_t kNone = UINT32_MAX;
  struct Expert {
    std::uint32_t slot = kNone;
    std::uint64_t last_step = 0;
    double worth = 0;  // at last_step
  };
  const double decay_;  // of a worth, in one step
  std::uint64_t step_ = 0;
  std::vector<Expert> experts_;
  std::vector<std::uint32_t> expert_in_;
  std::vector<bool> held_;
};

}  // namespace brimful::tier
