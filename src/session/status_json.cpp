#include "session/status_json.h"

namespace brimful::session {

nlohmann::ordered_json owners_json(const plan::MemoryMap& map) {
  return {{"weights", map.resident_weights.value},
          {"experts", map.experts.value},
          {"ring", map.ring.value},
          {"kv_cache", map.kv_cache.value},
          {"compute", map.compute.value},
          {"draft_model", map.draft_model.value},
          {"runtime", map.runtime.value},
          {"unused", map.unused.value}};
}

nlohmann::ordered_json owners_json(const plan::DeviceShare& device) {
  return {{"weights", device.weights.value}, {"experts", device.experts.value},
          {"ring", device.ring.value},       {"kv_cache", device.kv_cache.value},
          {"compute", device.compute.value}, {"runtime", device.runtime.value},
          {"unused", device.unused.value}};
}

nlohmann::ordered_json slots_json(const tier::ExpertStatistics& experts) {
  return {{"used", experts.used}, {"hits", experts.hits}, {"sent_bytes", experts.read.value}};
}

nlohmann::ordered_json weights_json(const plan::MemoryMap& map) {
  return {{"total", map.total_weights.value},
          {"resident", map.resident_weight_bytes.value},
          {"streamed_per_pass", map.streamed_per_pass.value}};
}

nlohmann::ordered_json passes_json(const tier::PassStatistics& passes) {
  return {{"count", passes.passes},
          {"disk_bytes", passes.read.value},
          {"stalled_seconds", std::chrono::duration<double>(passes.stalled).count()}};
}

nlohmann::ordered_json tiers_json(const engine::Engine& engine) {
  const plan::MemoryMap map = engine.memory_map();
  nlohmann::ordered_json tiers = nlohmann::ordered_json::array();
  tiers.push_back({{"name", "host"},
                   {"budget_bytes", map.budget.value},
                   {"bytes", owners_json(map)},
                   {"weights_bytes", weights_json(map)}});
  for (const auto& [device, sent, experts] : engine.devices()) {
    tiers.push_back({{"name", device.name},
                     {"device", device.gpu.name},
                     {"budget_bytes", device.budget.value},
                     {"bytes", owners_json(device)},
                     {"sent_bytes", sent.value},
                     {"experts", slots_json(experts)}});
  }
  return tiers;
}

}  // namespace brimful::session
