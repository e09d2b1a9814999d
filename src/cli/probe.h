#pragma once

namespace CLI {
class App;
}

namespace brimful::cli {

void add_probe_command(CLI::App& app, int& exit_code);

}  // namespace brimful::cli
