#pragma once

#include <nlohmann/json.hpp>

#include "engine/engine.h"

namespace brimful::session {

/// Bytes by owner; they add up to the budget.
[[nodiscard]] nlohmann::ordered_json owners_json(const plan::MemoryMap& map);
[[nodiscard]] nlohmann::ordered_json owners_json(const plan::DeviceShare& device);
/// Of steps that had slots on a device.
[[nodiscard]] nlohmann::ordered_json slots_json(const tier::ExpertStatistics& experts);

[[nodiscard]] nlohmann::ordered_json weights_json(const plan::MemoryMap& map);
[[nodiscard]] nlohmann::ordered_json passes_json(const tier::PassStatistics& passes);

/// `tiers` of docs/control.md.
[[nodiscard]] nlohmann::ordered_json tiers_json(const engine::Engine& engine);

}  // namespace brimful::session
