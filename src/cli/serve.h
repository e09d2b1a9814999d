#pragma once

namespace CLI {
class App;
}

namespace brimful::cli {

/// `brimful serve -m MODEL`: OpenAI's API over HTTP (docs/design-serve.md). All it says goes to stderr. The
/// callback sets `exit_code`, which must outlive the parsing.
void add_serve_command(CLI::App& app, int& exit_code);

}  // namespace brimful::cli
