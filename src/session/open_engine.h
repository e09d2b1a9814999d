#pragma once

#include <brimful/model.h>

#include <memory>

#include "engine/engine.h"
#include "session/notes.h"

namespace brimful::session {

/// Opens `gguf` and plans it, as the library's sessions and plans do. `notes` gets what Engine::notes() does
/// not have. Errors: those of Model::plan(). With `weights` missing, nothing can be computed.
[[nodiscard]] Result<std::unique_ptr<engine::Engine>> open_and_prepare(const std::filesystem::path& gguf,
                                                                       const Budgets& budgets,
                                                                       const ContextOptions& context,
                                                                       const Notes& notes);

}  // namespace brimful::session
