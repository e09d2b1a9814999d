#pragma once

namespace CLI {
class App;
}

namespace brimful::cli {

/// `brimful show MODEL [--json]`: what is in a model, from its header alone; no weight is read.
/// The callback sets `exit_code`, which must outlive the parsing.
void add_show_command(CLI::App& app, int& exit_code);

}  // namespace brimful::cli
