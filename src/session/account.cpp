#include "session/account.h"

namespace brimful::session {

TierAccount account_of(const plan::MemoryMap& host) {
  return {"host",
          host.budget,
          {{"weights", host.resident_weights},
           {"experts", host.experts},
           {"ring", host.ring},
           {"kv_cache", host.kv_cache},
           {"compute", host.compute},
           {"draft_model", host.draft_model},
           {"runtime", host.runtime},
           {"unused", host.unused}}};
}

TierAccount account_of(const plan::DeviceShare& device) {
  return {device.name,
          device.budget,
          {{"weights", device.weights},
           {"experts", device.experts},
           {"ring", device.ring},
           {"kv_cache", device.kv_cache},
           {"compute", device.compute},
           {"runtime", device.runtime},
           {"unused", device.unused}}};
}

std::vector<std::pair<std::string, Bytes>> figures_of(const engine::CardUse& card) {
  std::vector<std::pair<std::string, Bytes>> out{
      {"total", card.total}, {"free", card.free}, {"used", card.used}};
  if (card.reserved) out.emplace_back("reserved", *card.reserved);
  if (card.process) out.emplace_back("process", *card.process);
  out.emplace_back("others", card.others);
  return out;
}

namespace {

TierAccount named_account_of(const plan::DeviceShare& device) {
  TierAccount out = account_of(device);
  out.device = device.gpu.name;
  return out;
}

Account account_of_host(const plan::MemoryMap& host) {
  return {.tiers = {account_of(host)},
          .weights = host.total_weights,
          .resident_weights = host.resident_weight_bytes,
          .streamed_per_pass = host.streamed_per_pass};
}

}  // namespace

Account account_of(const engine::Engine& engine) {
  Account out = account_of_host(engine.memory_map());
  for (const engine::DeviceUse& use : engine.devices()) {
    TierAccount& tier = out.tiers.emplace_back(named_account_of(use.share));
    tier.sent = use.sent;
    tier.experts_sent = use.experts.read;
    tier.experts_used = use.experts.used;
    tier.experts_found = use.experts.hits;
    if (use.card) tier.card = figures_of(*use.card);
  }
  return out;
}

Account planned_account_of(const plan::MemoryMap& host, std::span<const plan::DeviceShare> devices) {
  Account out = account_of_host(host);
  for (const plan::DeviceShare& device : devices) out.tiers.push_back(named_account_of(device));
  return out;
}

}  // namespace brimful::session
