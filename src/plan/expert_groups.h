#pragma once

#include <vector>

#include "plan/tensor_use.h"

namespace brimful::plan {

/// One weight of a group, and how its experts lie in the group's slots: slot s at place + s * stride. Where
/// the stride has room for whole blocks, direct reads go straight there; where kernels want experts without
/// gaps, they land elsewhere and are moved.
struct ExpertPart {
  std::uint32_t tensor = 0;
  Bytes bytes;              ///< of one expert
  Bytes stride;             ///< region_of(bytes), or `bytes`
  std::uint64_t first = 0;  ///< where in its region an expert's first byte lies, always: below kBlock
  std::uint64_t place = 0;  ///< of the first slot, in the arena

  [[nodiscard]] bool lands() const { return stride == bytes; }
};

/// The weights that one choice of a router picks from, such as gate, up and down of a layer: and the slots
/// that keep some of their experts, with all their parts.
struct ExpertGroup {
  std::vector<ExpertPart> parts;
  std::uint32_t experts = 0;
  Bytes expert;             ///< the bytes of one expert's parts
  std::uint32_t slots = 0;  ///< at most `experts`

  /// What so many slots take: every part a multiple of kBlock.
  [[nodiscard]] Bytes slot_bytes(std::uint32_t count) const;
  [[nodiscard]] Bytes slot_bytes() const { return slot_bytes(slots); }
};

/// Of one expert of a weight.
[[nodiscard]] Bytes expert_bytes(const model::TensorInfo& tensor);

/// The most tokens of a step that is computed with experts in slots on a device: more use nearly all experts.
inline constexpr std::int64_t kMostTokensOfSlots = 64;

/// Experts of a group that lie on a device, as a cache in front of the host's.
struct CachedExperts {
  std::vector<std::uint32_t> tensors;  ///< the group's parts, each of as many experts
  std::uint32_t slots = 0;             ///< at least 1, fewer than there are experts
};

/// The memory that a stretch of a file needs to be read to, wherever it begins on disk.
[[nodiscard]] Bytes region_of(Bytes stretch);

/// Uses with the same TensorUse::expert_group, in the order of the pass. No slots yet.
[[nodiscard]] std::vector<ExpertGroup> find_expert_groups(const model::ModelProfile& profile,
                                                          const std::vector<TensorUse>& uses);

/// Memory in which a step that uses all experts can be computed: two stretches of kRowStep rows of each.
[[nodiscard]] Bytes stage_bytes(const model::ModelProfile& profile, const std::vector<ExpertGroup>& groups);

/// Where parts that cannot be read straight to their place land: kLandings of the largest.
inline constexpr std::uint64_t kLandings = 16;
[[nodiscard]] Bytes landing_bytes(const std::vector<ExpertGroup>& groups);

/// Gives the groups as many slots as `room` holds, evenly: each has at most one more than another, unless
/// that one has all its experts. Places them from `place` on. Returns the bytes of all slots.
Bytes share_out(std::vector<ExpertGroup>& groups, Bytes room, std::uint64_t place);

}  // namespace brimful::plan
