#pragma once

#include <brimful/budgets.h>

#include "engine/engine.h"

namespace brimful::session {

/// The bytes of one tier by tag. They add up to its budget.
[[nodiscard]] TierAccount account_of(const plan::MemoryMap& host);
[[nodiscard]] TierAccount account_of(const plan::DeviceShare& device);

/// All tiers of an engine, without the peaks. Requires: Engine::start() succeeded.
[[nodiscard]] Account account_of(const engine::Engine& engine);
/// The same as the plan says it, before anything is reserved. Requires: Engine::prepare() succeeded, and
/// Engine::start() was not called.
[[nodiscard]] Account planned_account_of(const engine::Engine& engine);

}  // namespace brimful::session
