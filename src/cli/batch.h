#pragma once

namespace CLI {
class App;
}

namespace brimful::cli {

/// Adds `brimful batch -m MODEL -i IN.jsonl -o OUT.jsonl`, which answers a file of requests of OpenAI's
/// batch API. Its messages go to stderr. The command's callback writes the exit code to `exit_code`.
/// Lifetime: `exit_code` must outlive the parsing.
void add_batch_command(CLI::App& app, int& exit_code);

}  // namespace brimful::cli
