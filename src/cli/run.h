#pragma once

namespace CLI {
class App;
}

namespace brimful::cli {

/// `brimful run -m MODEL`: completes a prompt or chats, inside a memory budget. The text goes to stdout,
/// everything else to stderr. The callback sets `exit_code`, which must outlive the parsing.
void add_run_command(CLI::App& app, int& exit_code);

}  // namespace brimful::cli
