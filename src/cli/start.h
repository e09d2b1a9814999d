#pragma once

#include <functional>

#include "engine/engine.h"

namespace brimful::cli {

/// Writes lines of a session::Notes to standard error; the second, below a text that may stand there.
void tell_notes(const std::string& lines);
void tell_notes_below(const std::string& lines);

/// Engine::start(), with a progress bar; then what was adapted, and the memory maps. `stopped`: asked again
/// and again. Errors: those of Engine::start().
[[nodiscard]] Status start_and_show(engine::Engine& engine, const std::function<bool()>& stopped);

}  // namespace brimful::cli
