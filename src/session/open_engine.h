#pragma once

#include <brimful/model.h>

#include <memory>
#include <string>

#include "engine/engine.h"
#include "hardware/profile.h"
#include "session/notes.h"

namespace brimful::session {

/// Checks the options of a session or its plan, and makes what Engine::open() needs. Errors:
/// kInvalidArgument; those of open_options().
[[nodiscard]] Result<engine::OpenOptions> session_options(const std::filesystem::path& gguf,
                                                          const Budgets& budgets,
                                                          const ContextOptions& context, const Notes& notes);

/// Prepares the context of a session. With `machine` (not null), its shape is chosen by these rates. Where
/// the shape is chosen without them, the note `unmeasured` is given, unless it is empty. Errors: those of
/// prepare_shared(); kInvalidArgument. Returns how many requests may run at once.
[[nodiscard]] Result<std::uint32_t> prepare_session(engine::Engine& engine, const ContextOptions& context,
                                                    const hardware::Profile* machine,
                                                    const std::string& unmeasured, const Notes& notes);

/// The note of prepare_session() for a session without ContextOptions::machine.
inline constexpr const char* kNoMachine =
    "the context has a usual shape: with Machine::measure() as ContextOptions::machine, it is chosen by "
    "speed";

/// An engine that is prepared for a scheduler.
struct PreparedEngine {
  std::unique_ptr<engine::Engine> engine;
  /// How many requests may run at once.
  std::uint32_t at_once = 1;
};

/// Opens `gguf` and prepares the context of a session on this machine. `machine`: as prepare_session().
/// `notes` gets what Engine::notes() does not have. `trace` records the engine's work, and outlives it; null:
/// nothing does. Errors: those of Model::plan().
[[nodiscard]] Result<PreparedEngine> open_and_prepare(const std::filesystem::path& gguf,
                                                      const Budgets& budgets, const ContextOptions& context,
                                                      const hardware::Profile* machine, const Notes& notes,
                                                      tier::Trace* trace = nullptr);

}  // namespace brimful::session
