#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "cli/fit_choice.h"
#include "cli/planner.h"
#include "hub/fetch_model.h"
#include "hub/hub_cache.h"

namespace brimful::cli {

/// The value of --fit: `vram=11.5GiB,ram=48GiB,tps=3`.
struct FitWish {
  /// The budgets, as --vram and --ram take them. Unset: those flags have them.
  std::optional<std::string> vram;
  std::optional<std::string> ram;
  /// The least tokens/s of one answer. Unset: the weights have to lie in the budgets as a whole.
  std::optional<double> tokens_per_s;
};

/// Parses the value of --fit. Budgets of several GPUs are parts of `vram`: `vram=CUDA0=8GiB,CUDA1=6GiB`.
/// Pure. Errors: kInvalidArgument, with the form.
[[nodiscard]] Result<FitWish> parse_fit(std::string_view text);

/// Takes the budgets of --fit for --ram and --vram. Errors: those of parse_fit(); kInvalidArgument when both
/// name one budget, and when no model of the hub is named, or one with its quantisation.
[[nodiscard]] Status apply_fit(RunOptions& options);

/// What was found about the models of a repository.
struct FitReport {
  /// The best of them first. Not all of them were planned: their `verdict` is kNotPlanned then.
  std::vector<FitRow> rows;
  /// The index of the chosen one. Unset: none is as it was asked for, and `problem` says what to do.
  std::optional<std::size_t> chosen;
  std::string problem;
  // Of the chosen one: its files, its file in the cache when the cache has it, and its plan without advice.
  hub::HubFiles files;
  std::optional<std::filesystem::path> cached;
  std::optional<PlanReport> plan;
};

/// Reads the headers of the models of a repository, plans them, and chooses the best that fits: see
/// docs/design-models.md. Of a model that the cache has, the header is not fetched; offline, only the cache
/// is looked at. `options.hub` names the repository; `options.vram` and `options.run.ram` are the budgets,
/// and `options.run.fetch.fit` is the wish. Requires: apply_fit() has accepted them. Says on stderr what it
/// does. Errors: those of find_all_files(), fetch_headers() and make_report(). Blocks: on the network; for a
/// minute when it measures the machine.
[[nodiscard]] Result<FitReport> choose_fit(PlanOptions options, hub::Http& http, const hub::HubCache& cache);

}  // namespace brimful::cli
