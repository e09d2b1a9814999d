#pragma once

#include <brimful/budgets.h>

#include "engine/engine.h"

namespace brimful::session {

/// The bytes of one tier by tag. They add up to its budget.
[[nodiscard]] TierAccount account_of(const plan::MemoryMap& host);
[[nodiscard]] TierAccount account_of(const plan::DeviceShare& device);

/// All tiers of an engine, without the peak. Requires: Engine::prepare() succeeded.
[[nodiscard]] Account account_of(const engine::Engine& engine);

}  // namespace brimful::session
