#pragma once

namespace CLI {
class App;
}

namespace brimful::cli {

/// Adds `brimful tokenize`, which shows how a model's vocabulary cuts a text into tokens. `exit_code` is set
/// when it runs.
void add_tokenize_command(CLI::App& app, int& exit_code);

}  // namespace brimful::cli
