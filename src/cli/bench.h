#pragma once

namespace CLI {
class App;
}

namespace brimful::cli {

/// Adds `brimful bench`, which measures the speed of models inside budgets. `exit_code` is set when it runs.
void add_bench_command(CLI::App& app, int& exit_code);

}  // namespace brimful::cli
