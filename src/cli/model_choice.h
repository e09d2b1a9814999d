#pragma once

#include "cli/run_options.h"

namespace brimful::cli {

/// Adds -hf to a command that runs a model. Lifetime: `options` must outlive the parsing.
void add_hub_flag(CLI::App& command, RunOptions& options);

/// Sets `options.model` to a file: of -hf, or of a name of the cache that -m gives. A model that is not in
/// the cache is downloaded: its header first, then a line on stderr that says what it will need and how fast
/// it will be, then the rest. All of this happens in a process of its own, whose memory is gone afterwards.
/// Errors: kInfeasible when the plan says that the model does not fit, before anything of it is fetched;
/// those of hub::find_files() and hub::download_model(); kCancelled. Threading: call it while this process
/// has no other threads. Blocks: until the model is there.
[[nodiscard]] Status choose_model(RunOptions& options);

}  // namespace brimful::cli
