#pragma once

#include <string>

#include "batch/settings.h"
#include "cli/run_options.h"

namespace brimful::cli {

/// Returns the settings in `options` that change the answers of `brimful batch` and `brimful serve`: the
/// model, adapters, the chat template, the shape of context and passes. Files are represented by their
/// content. Budgets, threads, devices and drafts are not among the settings. `open` is the result of
/// open_options() for `options`. `served_name` is the value of --served-model-name; empty: the flag was not
/// given.
/// Errors: those of model::read_model(), of the fingerprints and of chat_template(). Blocks: on the disk.
[[nodiscard]] Result<batch::Settings> answer_settings(const RunOptions& options,
                                                      const engine::OpenOptions& open,
                                                      const std::string& served_name);

}  // namespace brimful::cli
