#include "plan/host_plan.h"

#include <map>

#include "memory/page_tables.h"

namespace brimful::plan {

Bytes HostDemand::least() const { return fixed() + memory::with_page_tables(least_for_weights); }

Bytes HostDemand::for_weights(Bytes budget) const {
  return memory::without_page_tables(saturating_sub(budget, fixed()));
}

void describe_weights(const model::ModelProfile& profile, const Placement& placement, MemoryMap& map) {
  map.total_weights = profile.weight_bytes();
  map.resident_weight_bytes = placement.resident;
  map.streamed_per_pass = placement.streamed_per_pass;
  std::map<int, std::pair<Bytes, Bytes>> by_layer;  // bytes that are resident, and all bytes
  for (const Unit& unit : placement.units) {
    auto& [resident, all] = by_layer[profile.tensors[unit.tensor].layer.value_or(-1)];
    all += unit.bytes;
    if (unit.resident) resident += unit.bytes;
  }
  for (const ExpertGroup& group : placement.groups) {
    auto& [resident, all] = by_layer[profile.tensors[group.parts.front().tensor].layer.value_or(-1)];
    all += group.expert * group.experts;
    resident += group.expert * group.slots;
    map.experts_total += group.expert * group.experts;
    map.experts_in_slots += group.expert * group.slots;
  }
  for (const auto& [layer, bytes] : by_layer) {
    map.resident_share.emplace_back(
        layer, static_cast<double>(bytes.first.value) / static_cast<double>(bytes.second.value));
  }
}

Bytes HostPlan::runtime() const {
  return demand.held + demand.growth + placement.bookkeeping(demand.bookkeeping) +
         memory::page_tables(placement.arena_bytes());
}

MemoryMap HostPlan::memory_map(const model::ModelProfile& profile) const {
  MemoryMap map;
  map.budget = budget;
  map.experts = placement.slot_bytes() + placement.stage + placement.bounce_buffers;
  map.ring = placement.ring;
  map.resident_weights = placement.arena_bytes() - map.ring - map.experts + demand.adapters;
  map.kv_cache = demand.kv_cache;
  map.compute = demand.compute;
  map.draft_model = demand.draft_model;
  map.runtime = runtime();
  map.unused = budget - (map.resident_weights + map.experts + map.ring + map.kv_cache + map.compute +
                         map.draft_model + map.runtime);
  describe_weights(profile, placement, map);
  return map;
}

}  // namespace brimful::plan
