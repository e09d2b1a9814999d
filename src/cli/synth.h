#pragma once

#include <CLI/CLI.hpp>

namespace brimful::cli {

/// `brimful synth`: writes a made-up but valid GGUF model. Sets `exit_code` to 1 where it fails.
/// Lifetime: `exit_code` must outlive the parse.
void add_synth_command(CLI::App& app, int& exit_code);

}  // namespace brimful::cli
