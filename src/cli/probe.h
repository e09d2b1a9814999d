#pragma once

namespace CLI {
class App;
}

namespace brimful::cli {

/// Adds `brimful probe`, which measures this machine. The command's callback writes the exit code to
/// `exit_code`.
/// Lifetime: `exit_code` must outlive the parsing.
void add_probe_command(CLI::App& app, int& exit_code);

}  // namespace brimful::cli
