#pragma once

namespace CLI {
class App;
}

namespace strata::cli {

void add_probe_command(CLI::App& app, int& exit_code);

}  // namespace strata::cli
