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

Account account_of(const engine::Engine& engine) {
  Account out;
  out.tiers.push_back(account_of(engine.memory_map()));
  for (const engine::DeviceUse& use : engine.devices()) out.tiers.push_back(account_of(use.share));
  return out;
}

}  // namespace brimful::session
