#pragma once

namespace CLI {
class App;
}

namespace brimful::cli {

/// Adds `brimful ctl`, which changes a run that goes on. Its exit code is left in `exit_code`.
void add_ctl_command(CLI::App& app, int& exit_code);

}  // namespace brimful::cli
