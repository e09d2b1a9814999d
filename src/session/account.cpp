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

namespace {

Account account_with(const plan::MemoryMap& host, const engine::Engine& engine) {
  Account out{.weights = host.total_weights,
              .resident_weights = host.resident_weight_bytes,
              .streamed_per_pass = host.streamed_per_pass};
  out.tiers.push_back(account_of(host));
  for (const engine::DeviceUse& use : engine.devices()) {
    TierAccount& tier = out.tiers.emplace_back(account_of(use.share));
    tier.device = use.share.gpu.name;
    tier.sent = use.sent;
    tier.experts_sent = use.experts.read;
    tier.experts_used = use.experts.used;
    tier.experts_found = use.experts.hits;
  }
  return out;
}

}  // namespace

Account account_of(const engine::Engine& engine) { return account_with(engine.memory_map(), engine); }

Account planned_account_of(const engine::Engine& engine) {
  return account_with(engine.plan().memory_map(engine.profile()), engine);
}

}  // namespace brimful::session
