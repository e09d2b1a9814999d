#pragma once

#include <string>

#include "batch/settings.h"
#include "cli/run_options.h"

namespace brimful::cli {

/// Everything in `options` that changes the answers of `brimful batch` and `brimful serve`, with the content
/// of the files that it names: the model, adapters, the chat template, the shape of context and passes.
/// Budgets, threads, devices and drafts are not in it. `open`: what open_options() made of them.
/// `served_name`: of the flag; empty: not given. Errors: those of model::read_model() and of chat_template().
[[nodiscard]] Result<batch::Settings> answer_settings(const RunOptions& options,
                                                      const engine::OpenOptions& open,
                                                      const std::string& served_name);

}  // namespace brimful::cli
