#pragma once

namespace CLI {
class App;
}

namespace brimful::cli {

/// Adds `brimful imatrix`, which writes the importance matrix of a model. `exit_code` is set when it runs.
void add_imatrix_command(CLI::App& app, int& exit_code);

}  // namespace brimful::cli
