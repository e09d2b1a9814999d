#pragma once

#include <functional>

#include "engine/engine.h"

namespace brimful::cli {

/// Writes a note of a session::Notes to standard error, as a line that begins with `note: `.
void tell_note(const std::string& note);
/// Does the same, and begins on a new line, because a text without a newline may stand on the terminal.
void tell_note_below(const std::string& note);

/// Calls Engine::start() with a progress bar, and then writes the engine's notes and the memory maps to
/// standard error. `stopped` is called again and again while the model is loaded; when it returns true,
/// loading ends with an error.
/// Errors: those of Engine::start(). Blocks: until the model is loaded.
[[nodiscard]] Status start_and_show(engine::Engine& engine, const std::function<bool()>& stopped);

}  // namespace brimful::cli
