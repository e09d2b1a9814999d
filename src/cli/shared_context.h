#pragma once

#include <functional>

#include "engine/engine.h"

namespace strata::cli {

/// What is known of requests that will be computed together.
struct ExpectedRequests {
  std::uint32_t requests = 1;     ///< at once, at most
  std::uint64_t mean_tokens = 0;  ///< of a prompt and its answer
  std::uint64_t most_tokens = 0;  ///< of the largest: a context that is chosen here holds it, if it can
  Bytes client_reserve;  ///< what the caller itself will still allocate, beside samplers and templates
};

/// Engine::prepare() for a batch::Executor: cells for as many requests as are expected, where these take no
/// large part of the budget; those that `context` names, where it does. Errors: those of Engine::prepare().
[[nodiscard]] Status prepare_shared(engine::Engine& engine, engine::ContextOptions context,
                                    const ExpectedRequests& expected);

/// Engine::start(), with a progress bar; then what was adapted, and the memory maps. `stopped`: asked again
/// and again. Errors: those of Engine::start().
[[nodiscard]] Status start_and_show(engine::Engine& engine, const std::function<bool()>& stopped);

}  // namespace strata::cli
