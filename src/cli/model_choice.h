#pragma once

#include "cli/run_options.h"
#include "hub/settings.h"

namespace brimful::cli {

// These functions add flags to a command. Lifetime: the options must outlive the parsing.
/// Adds -hf, and all flags beside it, to a command that runs a model.
void add_hub_flag(CLI::App& command, RunOptions& options);
/// Adds --fit.
void add_fit_flag(CLI::App& command, HubFlags& flags);
/// Adds --limit-rate.
void add_limit_flag(CLI::App& command, HubFlags& flags);

/// The settings of the environment and of the flags. Errors: those of hub::settings_from_environment();
/// kInvalidArgument for a rate that is none.
[[nodiscard]] Result<hub::Settings> settings_of(const HubFlags& flags);

/// Sets `options.model` to a file: of -hf, or of a name of the cache that -m gives. With --fit, it chooses
/// the file as choose_fit() does, and sets the budgets to those of --fit. A model that is not in the cache is
/// downloaded: its header first, then a line on stderr that says what it will need and how fast it will be,
/// then the rest. All of this happens in a process of its own, whose memory is gone afterwards. Errors:
/// kInfeasible when the plan says that the model does not fit, kCorrupt or kUnsupported when it can never
/// run, before anything of it is fetched; those of hub::find_files() and hub::download_model(); kCancelled.
/// Threading: call it while this process has no other threads. Blocks: until the model is there.
[[nodiscard]] Status choose_model(RunOptions& options);

}  // namespace brimful::cli
