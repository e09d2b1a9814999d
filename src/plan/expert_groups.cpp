#include "plan/expert_groups.h"

#include <algorithm>
#include <map>

namespace brimful::plan {

Bytes row_padding(const model::TensorInfo& tensor) {
  constexpr std::int64_t kElements = 512;  // MATRIX_ROW_PADDING of ggml-cuda
  const std::int64_t over = tensor.shape[0] % kElements;
  if (!ggml_is_quantized(tensor.type) || over == 0) return {};
  return Bytes{ggml_row_size(tensor.type, kElements - over)};
}

Bytes expert_bytes(const model::TensorInfo& tensor) {
  return tensor.row_bytes() * static_cast<std::uint64_t>(tensor.shape[1]);
}

Bytes region_of(Bytes stretch) { return align_up(stretch, Bytes{kBlock}) + Bytes{kBlock}; }

Bytes ExpertGroup::slot_bytes(std::uint32_t count) const {
  Bytes total;
  for (const ExpertPart& part : parts) total += align_up(part.stride * count, Bytes{kBlock});
  return total;
}

std::vector<ExpertGroup> find_expert_groups(const model::ModelProfile& profile,
                                            const std::vector<TensorUse>& uses) {
  std::vector<ExpertGroup> groups;
  std::map<std::uint32_t, std::size_t> known;
  for (const TensorUse& use : uses) {
    if (!use.expert_group) continue;
    const model::TensorInfo& tensor = profile.tensors[use.tensor];
    const auto [at, is_new] = known.try_emplace(*use.expert_group, groups.size());
    if (is_new) groups.emplace_back();
    ExpertGroup& group = groups[at->second];
    group.experts = static_cast<std::uint32_t>(tensor.shape[2]);
    const Bytes bytes = expert_bytes(tensor);
    group.expert += bytes;
    if (use.contiguous) {
      group.parts.push_back({use.tensor, bytes, bytes, 0, 0});
    } else {
      group.parts.push_back({use.tensor, bytes, region_of(bytes), tensor.offset % kBlock, 0});
    }
  }
  return groups;
}

Bytes stage_bytes(const model::ModelProfile& profile, const std::vector<ExpertGroup>& groups) {
  Bytes half;
  for (const ExpertGroup& group : groups) {
    for (const ExpertPart& part : group.parts) {
      const model::TensorInfo& tensor = profile.tensors[part.tensor];
      const auto rows = static_cast<std::uint64_t>(std::min(kRowStep, tensor.shape[1]));
      half = std::max(half, region_of(tensor.row_bytes() * rows) * group.experts);
    }
  }
  return half * 2;
}

Bytes bounce_bytes(const std::vector<ExpertGroup>& groups) {
  Bytes largest;
  for (const ExpertGroup& group : groups) {
    for (const ExpertPart& part : group.parts) {
      if (part.needs_bounce_buffer()) largest = std::max(largest, region_of(part.bytes));
    }
  }
  return largest * kBounceBuffers;
}

Bytes share_out(std::vector<ExpertGroup>& groups, Bytes room, std::uint64_t place) {
  Bytes used;
  for (bool more = true; more;) {
    more = false;
    for (ExpertGroup& group : groups) {
      const Bytes with = used + group.slot_bytes(group.slots + 1) - group.slot_bytes();
      if (group.slots == group.experts || with > room) continue;
      ++group.slots;
      used = with;
      more = true;
    }
  }
  for (ExpertGroup& group : groups) {
    for (ExpertPart& part : group.parts) {
      part.place = place;
      place += align_up(part.stride * group.slots, Bytes{kBlock}).value;
    }
  }
  return used;
}

}  // namespace brimful::plan
