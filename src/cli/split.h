#pragma once

namespace CLI {
class App;
}

namespace brimful::cli {

/// Adds `brimful split` and `brimful merge`, which cut GGUF files into parts and join them. `exit_code` is
/// set when one of them runs.
void add_split_commands(CLI::App& app, int& exit_code);

}  // namespace brimful::cli
