#pragma once

namespace CLI {
class App;
}

namespace brimful::cli {

/// Adds `brimful top`, which shows what runs. Its exit code is left in `exit_code`.
void add_top_command(CLI::App& app, int& exit_code);

}  // namespace brimful::cli
