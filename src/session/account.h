#pragma once

#include <brimful/budgets.h>

#include <span>
#include <string>
#include <utility>
#include <vector>

#include "engine/engine.h"

namespace brimful::session {

/// The bytes of one tier by tag. They add up to its budget.
[[nodiscard]] TierAccount account_of(const plan::MemoryMap& host);
[[nodiscard]] TierAccount account_of(const plan::DeviceShare& device);

/// The figures of a card by name: total, free, used, reserved, process, others. What is not known is left
/// out.
[[nodiscard]] std::vector<std::pair<std::string, Bytes>> figures_of(const engine::CardUse& card);

/// All tiers of an engine, without the peaks. Requires: Engine::start() succeeded.
[[nodiscard]] Account account_of(const engine::Engine& engine);
/// The same as a plan says it, before anything is reserved.
[[nodiscard]] Account planned_account_of(const plan::MemoryMap& host,
                                         std::span<const plan::DeviceShare> devices);

}  // namespace brimful::session
