#pragma once

namespace CLI {
class App;
}

namespace brimful::cli {

/// `brimful plan`: exit code 0 where it fits, 3 where it does not, 1 where that could not be found out.
void add_plan_command(CLI::App& app, int& exit_code);

}  // namespace brimful::cli
