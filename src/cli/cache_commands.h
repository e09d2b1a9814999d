#pragma once

namespace CLI {
class App;
}

namespace brimful::cli {

/// Adds the commands for the models of the cache: `pull`, `list`, `verify`, `rm` and `cp`. Their callbacks
/// write the exit code to `exit_code`. Lifetime: `exit_code` must outlive the parsing.
void add_cache_commands(CLI::App& app, int& exit_code);

}  // namespace brimful::cli
