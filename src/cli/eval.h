#pragma once

namespace CLI {
class App;
}

namespace brimful::cli {

/// Adds `brimful eval`: perplexity, and the divergence from a reference. `exit_code` is set when it runs.
void add_eval_command(CLI::App& app, int& exit_code);

}  // namespace brimful::cli
