#pragma once

#include <brimful/session.h>

#include "engine/engine.h"
#include "schedule/scheduler.h"

namespace brimful::session {

/// The public form of what the scheduler and the engine have counted.
[[nodiscard]] Statistics statistics_of(const engine::Engine& engine, const schedule::Scheduler& scheduler);

}  // namespace brimful::session
