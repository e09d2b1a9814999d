#pragma once

#include <brimful/budgets.h>

#include <nlohmann/json.hpp>

#include "engine/engine.h"

namespace brimful::session {

/// Bytes by tag, as an object.
[[nodiscard]] nlohmann::ordered_json tags_json(const TierAccount& tier);
/// Of steps that had slots on a device.
[[nodiscard]] nlohmann::ordered_json slots_json(const tier::ExpertStatistics& experts);

[[nodiscard]] nlohmann::ordered_json weights_json(const plan::MemoryMap& map);
[[nodiscard]] nlohmann::ordered_json passes_json(const tier::PassStatistics& passes);

/// `tiers` of docs/control.md.
[[nodiscard]] nlohmann::ordered_json tiers_json(const engine::Engine& engine);

}  // namespace brimful::session
