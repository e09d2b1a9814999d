#pragma once

#include "engine/engine.h"
#include "hardware/profile.h"
#include "plan/device_split.h"

namespace brimful::session {

/// Returns what the prepared engine places on devices, in the form for forecasts, with the facts that
/// `machine` has about these cards. DeviceSplit::host is not set: the engine's plan has it. Requires:
/// Engine::prepare() succeeded.
[[nodiscard]] plan::DeviceSplit split_of(const engine::Engine& engine, const hardware::Profile& machine);

}  // namespace brimful::session
