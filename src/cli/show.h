#pragma once

namespace CLI {
class App;
}

namespace brimful::cli {

/// Adds `brimful show MODEL [--json]`, which describes a model from its header alone, without reading a
/// weight. The command's callback writes the exit code to `exit_code`. Lifetime: `exit_code` must outlive
/// the parsing.
void add_show_command(CLI::App& app, int& exit_code);

}  // namespace brimful::cli
