#pragma once

#include <optional>

#include "engine/engine.h"
#include "hardware/profile.h"
#include "plan/shared_forecast.h"
#include "session/notes.h"

namespace brimful::session {

/// What is known of requests that will be computed together.
struct ExpectedRequests {
  plan::SharedWork work;
  bool lengths_known = false;      ///< no guess: how many run at once may follow from them
  std::uint64_t most_tokens = 0;   ///< of the largest: a context that is chosen here holds it, if it can,
  std::uint64_t least_tokens = 0;  ///< and so many in any case; the largest then ends early
  bool chooses_cache = false;      ///< the type of the KV cache may be chosen, too
  Bytes client_reserve;  ///< what the caller itself will still allocate, beside samplers and templates
};

/// Engine::prepare() for a schedule::Scheduler. Returns how many requests may run in it at once. What
/// `context` leaves open, how many tokens and how many of them in a pass, is chosen for the most tokens per
/// second by the rates of `machine`, more KV cache against more weights that stay, and standard error says
/// what was weighed. Without them: cells for as many requests as are expected, where these take no large part
/// of the budget. Errors: those of Engine::prepare().
[[nodiscard]] Result<std::uint32_t> prepare_shared(engine::Engine& engine, engine::ContextOptions context,
                                                   const ExpectedRequests& expected,
                                                   const std::optional<hardware::Profile>& machine,
                                                   const Notes& notes);

/// Whether a context can be prepared that holds `expected.least_tokens`. Says nothing, and leaves the engine
/// prepared or not. Errors: those of Engine::prepare() but kInfeasible.
[[nodiscard]] Result<bool> holds_least(engine::Engine& engine, engine::ContextOptions context,
                                       const ExpectedRequests& expected);

}  // namespace brimful::session
