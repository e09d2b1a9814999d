#pragma once

#include <sampling.h>

#include "engine/engine.h"

namespace brimful::session {

/// Returns what a face that answers one conversation allocates beside the engine: a sampler for answers that
/// are sampled with `sampling`, the chat template if `with_template` is true, and the control socket. `more`
/// is added. Lifetime: the result does not refer to the arguments.
[[nodiscard]] engine::ClientReserve client_reserve(const engine::Engine& engine,
                                                   const common_params_sampling& sampling, bool with_template,
                                                   Bytes more = {});

}  // namespace brimful::session
