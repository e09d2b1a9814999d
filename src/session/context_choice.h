#pragma once

#include <optional>
#include <string>

#include "engine/engine.h"
#include "hardware/profile.h"
#include "plan/shared_forecast.h"
#include "session/notes.h"

namespace brimful::session {

/// What is known about requests that will be computed together.
struct ExpectedRequests {
  plan::SharedWork work;
  /// True: the lengths in `work` are no guess, so that the number of requests at once may follow from them.
  bool lengths_known = false;
  /// Tokens of the largest request. A context that is chosen here holds that many, if the budget does.
  std::uint64_t most_tokens = 0;
  /// A context that is chosen here holds at least this many tokens. Answers to larger requests then end
  /// early.
  std::uint64_t least_tokens = 0;
  /// True: the type of the KV cache may be chosen, too.
  bool chooses_cache = false;
  /// What the caller will still allocate beside samplers and templates. Unset: nothing.
  engine::ClientReserve client_reserve;
  /// The note for people when a context is chosen although the machine is not known. Empty: there is none.
  std::string unmeasured =
      "this machine's speed is not known: brimful probe -m MODEL measures it, for a better plan";
};

/// Returns what is expected of requests that are not known yet: `at_once` of them, of a usual length, in a
/// context of a usual size that is no larger than the model was trained on. A context that is chosen holds
/// `least_tokens` in any case.
[[nodiscard]] ExpectedRequests usual_requests(const model::ModelProfile& model, std::uint32_t at_once,
                                              std::uint64_t least_tokens);

/// Calls Engine::prepare() for a schedule::Scheduler. Returns how many requests may run at once. If `context`
/// leaves the number of tokens open, and `machine` is known, the function chooses the context and the ubatch
/// with the highest forecast rate: more KV cache against more resident weights. `notes` gets the result and
/// the alternatives. If `machine` is not known, the context has cells for the expected requests, at most a
/// quarter of the budget. Errors: those of Engine::prepare().
[[nodiscard]] Result<std::uint32_t> prepare_shared(engine::Engine& engine, engine::ContextOptions context,
                                                   const ExpectedRequests& expected,
                                                   const std::optional<hardware::Profile>& machine,
                                                   const Notes& notes);

/// Checks whether a context that holds `expected.least_tokens` can be prepared. It calls Engine::prepare(),
/// so that the engine is prepared afterwards, or not. Errors: those of Engine::prepare(), except kInfeasible,
/// which gives false.
[[nodiscard]] Result<bool> holds_least(engine::Engine& engine, engine::ContextOptions context,
                                       const ExpectedRequests& expected);

}  // namespace brimful::session
