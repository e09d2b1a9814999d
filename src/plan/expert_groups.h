#pragma once

#include <vector>

#include "plan/tensor_use.h"

namespace brimful::plan {

/// One weight of a group, and where its experts lie in the group's slots: slot s begins s strides behind
/// `place`. Where the stride has room for whole blocks, direct reads go straight to the slot. Where kernels
/// want experts without gaps, reads go to a bounce buffer, and the bytes are moved from there.
struct ExpertPart {
  /// Index into ModelProfile::tensors.
  std::uint32_t tensor = 0;
  /// Bytes of one expert.
  Bytes bytes;
  /// Bytes from one slot to the next: region_of(bytes), or `bytes`.
  Bytes stride;
  /// Offset in its slot of an expert's first byte, below kBlock. It is the same for each expert, wherever
  /// that begins on disk.
  std::uint64_t first = 0;
  /// Offset in the arena of the first slot.
  std::uint64_t place = 0;

  /// Whether reads go to a bounce buffer.
  [[nodiscard]] bool needs_bounce_buffer() const { return stride == bytes; }
};

/// The weights that one choice of a router picks from, such as gate, up and down of a layer. Its slots keep
/// some of its experts, each with all its parts.
struct ExpertGroup {
  /// In the order of the pass.
  std::vector<ExpertPart> parts;
  std::uint32_t experts = 0;
  /// Bytes of all parts of one expert.
  Bytes expert;
  /// At most `experts`.
  std::uint32_t slots = 0;

  /// Bytes that `count` slots take: each part is rounded up to a multiple of kBlock.
  [[nodiscard]] Bytes slot_bytes(std::uint32_t count) const;
  [[nodiscard]] Bytes slot_bytes() const { return slot_bytes(slots); }
};

/// The most bytes that a back end wants behind the rows of a weight on a device: ggml's CUDA kernels read
/// quantised rows up to a multiple of 512 elements.
[[nodiscard]] Bytes row_padding(const model::TensorInfo& tensor);

/// Bytes of one expert of a weight.
[[nodiscard]] Bytes expert_bytes(const model::TensorInfo& tensor);

/// Largest number of tokens of a step that a device computes with experts in slots. A step of more tokens
/// uses nearly all experts.
inline constexpr std::int64_t kMostTokensOfSlots = 64;

/// Experts of a group that lie on a device, as a cache in front of the host's.
struct CachedExperts {
  /// The parts of the group: indices into ModelProfile::tensors. Each has the same number of experts.
  std::vector<std::uint32_t> tensors;
  /// At least as many as a token picks experts, and fewer than there are experts.
  std::uint32_t slots = 0;
};

/// Bytes of memory that a stretch of a file can be read to in whole blocks, wherever it begins on disk.
[[nodiscard]] Bytes region_of(Bytes stretch);

/// Joins the uses that have the same TensorUse::expert_group, in the order of the pass. The groups have no
/// slots yet.
[[nodiscard]] std::vector<ExpertGroup> find_expert_groups(const model::ModelProfile& profile,
                                                          const std::vector<TensorUse>& uses);

/// Memory in which a step that uses all experts can be computed: room for kRowStep rows of every expert,
/// twice.
[[nodiscard]] Bytes stage_bytes(const model::ModelProfile& profile, const std::vector<ExpertGroup>& groups);

/// Number of bounce buffers for parts that cannot be read straight to their place.
inline constexpr std::uint64_t kBounceBuffers = 16;
/// Bytes of kBounceBuffers bounce buffers, each for the largest part that needs one. 0 if none does.
[[nodiscard]] Bytes bounce_bytes(const std::vector<ExpertGroup>& groups);

/// Gives slots to the groups, one to each in turn, as long as `room` holds another one. A group gets no more
/// where it has all its experts, or where its next slot does not fit. The slots lie in the arena from offset
/// `place` on. Returns the bytes of all slots.
Bytes share_out(std::vector<ExpertGroup>& groups, Bytes room, std::uint64_t place);

}  // namespace brimful::plan
