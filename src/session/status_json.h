#pragma once

#include <brimful/budgets.h>

#include <nlohmann/json.hpp>

#include "engine/engine.h"

namespace brimful::session {

/// Bytes by tag, as an object.
[[nodiscard]] nlohmann::ordered_json tags_json(const TierAccount& tier);
/// Statistics of a device's slots for experts.
[[nodiscard]] nlohmann::ordered_json slots_json(const tier::ExpertStatistics& experts);

/// A card as NVML counts it, in bytes: total, free, used, reserved, process, others. What the driver does not
/// say is absent.
[[nodiscard]] nlohmann::ordered_json card_json(const engine::CardUse& card);

/// Bytes of the weights: total, resident, and streamed in each pass.
[[nodiscard]] nlohmann::ordered_json weights_json(const plan::MemoryMap& map);
/// Number of passes, bytes read from disk, and seconds spent waiting for the disk.
[[nodiscard]] nlohmann::ordered_json passes_json(const tier::PassStatistics& passes);

/// The `tiers` of a status, see docs/control.md.
[[nodiscard]] nlohmann::ordered_json tiers_json(const engine::Engine& engine);

}  // namespace brimful::session
