#pragma once

#include <nlohmann/json.hpp>

#include "engine/engine.h"

namespace brimful::session {

/// The bytes of the host by owner. They add up to the budget.
[[nodiscard]] nlohmann::ordered_json owners_json(const plan::MemoryMap& map);
/// The bytes of a device by owner. They add up to the budget.
[[nodiscard]] nlohmann::ordered_json owners_json(const plan::DeviceShare& device);
/// Statistics of a device's slots for experts.
[[nodiscard]] nlohmann::ordered_json slots_json(const tier::ExpertStatistics& experts);

/// Bytes of the weights: total, resident, and streamed in each pass.
[[nodiscard]] nlohmann::ordered_json weights_json(const plan::MemoryMap& map);
/// Number of passes, bytes read from disk, and seconds spent waiting for the disk.
[[nodiscard]] nlohmann::ordered_json passes_json(const tier::PassStatistics& passes);

/// The `tiers` of a status, see docs/control.md.
[[nodiscard]] nlohmann::ordered_json tiers_json(const engine::Engine& engine);

}  // namespace brimful::session
