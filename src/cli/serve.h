#pragma once

namespace CLI {
class App;
}

namespace brimful::cli {

/// Adds `brimful serve -m MODEL`, which offers OpenAI's API over HTTP (docs/design-serve.md). Its messages
/// go to stderr. The command's callback writes the exit code to `exit_code`. Lifetime: `exit_code` must
/// outlive the parsing.
void add_serve_command(CLI::App& app, int& exit_code);

}  // namespace brimful::cli
