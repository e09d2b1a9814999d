#pragma once

#include <CLI/CLI.hpp>

namespace brimful::cli {

/// Adds `brimful synth`, which writes a made-up but valid GGUF model. The command's callback writes the exit
/// code to `exit_code`. Lifetime: `exit_code` must outlive the parsing.
void add_synth_command(CLI::App& app, int& exit_code);

}  // namespace brimful::cli
