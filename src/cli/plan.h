#pragma once

namespace CLI {
class App;
}

namespace brimful::cli {

/// Adds `brimful plan`. The exit code is 0 when the model fits, 3 when it does not fit, and 1 when that
/// could not be found out. The command's callback writes it to `exit_code`. Lifetime: `exit_code` must
/// outlive the parsing.
void add_plan_command(CLI::App& app, int& exit_code);

}  // namespace brimful::cli
