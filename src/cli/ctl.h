#pragma once

namespace CLI {
class App;
}

namespace brimful::cli {

/// Adds `brimful ctl`, which changes the budgets of a running model. The command's callback writes the exit
/// code to `exit_code`. Lifetime: `exit_code` must outlive the parsing.
void add_ctl_command(CLI::App& app, int& exit_code);
/// Adds `brimful ps`, which lists the running models, in the same way.
void add_ps_command(CLI::App& app, int& exit_code);
/// Adds `brimful stop`, which ends one of them, in the same way.
void add_stop_command(CLI::App& app, int& exit_code);

}  // namespace brimful::cli
