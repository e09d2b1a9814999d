#pragma once

namespace CLI {
class App;
}

namespace brimful::cli {

/// `brimful batch -m MODEL -i IN.jsonl -o OUT.jsonl`: answers a file of requests of OpenAI's batch API. All
/// it says goes to stderr. The callback sets `exit_code`, which must outlive the parsing.
void add_batch_command(CLI::App& app, int& exit_code);

}  // namespace brimful::cli
