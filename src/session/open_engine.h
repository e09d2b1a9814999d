#pragma once

#include <brimful/model.h>

#include <memory>

#include "engine/engine.h"
#include "session/notes.h"

namespace brimful::session {

/// An engine that is prepared for a scheduler.
struct PreparedEngine {
  std::unique_ptr<engine::Engine> engine;
  /// How many requests may run at once.
  std::uint32_t at_once = 1;
};

/// Opens `gguf` and plans it, as the library's sessions and plans do. `notes` gets what Engine::notes() does
/// not have. `trace` records the engine's work, and outlives it; null: nothing does. Errors: those of
/// Model::plan().
[[nodiscard]] Result<PreparedEngine> open_and_prepare(const std::filesystem::path& gguf,
                                                      const Budgets& budgets, const ContextOptions& context,
                                                      const Notes& notes, tier::Trace* trace = nullptr);

}  // namespace brimful::session
