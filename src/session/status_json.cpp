#include "session/status_json.h"

#include "session/account.h"

namespace brimful::session {

nlohmann::ordered_json tags_json(const TierAccount& tier) {
  nlohmann::ordered_json out = nlohmann::ordered_json::object();
  for (const auto& [tag, bytes] : tier.tags) out[tag] = bytes.value;
  return out;
}

nlohmann::ordered_json slots_json(const tier::ExpertStatistics& experts) {
  return {{"used", experts.used}, {"hits", experts.hits}, {"sent_bytes", experts.read.value}};
}

nlohmann::ordered_json card_json(const engine::CardUse& card) {
  nlohmann::ordered_json out = nlohmann::ordered_json::object();
  for (const auto& [what, bytes] : figures_of(card)) out[what] = bytes.value;
  return out;
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
                   {"bytes", tags_json(account_of(map))},
                   {"weights_bytes", weights_json(map)}});
  for (const engine::DeviceUse& use : engine.devices()) {
    const plan::DeviceShare& device = use.share;
    nlohmann::ordered_json& tier =
        tiers.emplace_back(nlohmann::ordered_json{{"name", device.name},
                                                  {"device", device.gpu.name},
                                                  {"budget_bytes", device.budget.value},
                                                  {"bytes", tags_json(account_of(device))},
                                                  {"sent_bytes", use.sent.value},
                                                  {"experts", slots_json(use.experts)}});
    if (use.card) tier["card_bytes"] = card_json(*use.card);
  }
  return tiers;
}

}  // namespace brimful::session
