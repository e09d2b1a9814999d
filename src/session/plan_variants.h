#pragma once

#include <vector>

#include "engine/engine.h"
#include "plan/advice.h"

namespace brimful::session {

/// Variants of a plan for which libllama has to be asked: other quantisations of the model that are of
/// similar quality, and smaller shapes of the context. `context` is what was asked of the engine. It calls
/// Engine::prepare(), so that the engine is prepared for another context afterwards.
[[nodiscard]] std::vector<plan::Variant> model_variants(engine::Engine& engine,
                                                        const engine::ContextOptions& context,
                                                        const plan::Inputs& inputs);

}  // namespace brimful::session
