#pragma once

#include "base/result.h"
#include "engine/context.h"
#include "engine/gpu_tier.h"
#include "engine/opened_model.h"

namespace brimful::engine {

/// Computes the largest shapes once, with a full context. Only then a driver has taken all the memory that it
/// will take. The context is empty afterwards. Requires: all weights are in their places. Errors: those of
/// Context::decode().
[[nodiscard]] Status warm_up(Context& context, const OpenedModel& model, GpuTier& gpus);

}  // namespace brimful::engine
