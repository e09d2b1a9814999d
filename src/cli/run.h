#pragma once

namespace CLI {
class App;
}

namespace brimful::cli {

/// Adds `brimful run -m MODEL`, which completes a prompt or runs a chat within a memory budget. The model's
/// text goes to stdout, everything else to stderr. The command's callback writes the exit code to
/// `exit_code`. Lifetime: `exit_code` must outlive the parsing.
void add_run_command(CLI::App& app, int& exit_code);

}  // namespace brimful::cli
