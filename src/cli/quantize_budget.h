#pragma once

#include <CLI/CLI.hpp>
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "engine/ram_budget.h"
#include "model/model_profile.h"
#include "quantise/budget_search.h"

namespace brimful::cli {

/// The flags of `brimful quantize` that belong to --to.
struct BudgetFlags {
  std::optional<std::string> to;
  std::string effort = "auto";
  std::optional<std::string> text;
  std::size_t windows = 4;
  std::size_t measurements = 256;
  std::vector<std::string> types;
  std::optional<std::string> journal;
  std::optional<std::string> json;
  std::optional<std::string> svg;
  std::optional<std::string> like;
  std::optional<std::string> hardware;
};

void add_budget_flags(CLI::App& command, BudgetFlags& flags);

/// What a goal leads to: the output, and the importance matrix that it is quantised with.
struct BudgetedRecipe {
  quantise::Recipe recipe;
  quantise::Importance importance;
  /// A line for people.
  std::string summary;
};

/// Measures the model and chooses types for --to. Writes the files of --json and --svg. `output` is the path
/// beside which the measurements are noted. `known` may be null. Errors: those of parse_goal(), measure(),
/// choose_for() and make_report().
[[nodiscard]] Result<BudgetedRecipe> recipe_for_budget(const model::ModelProfile& profile,
                                                       const BudgetFlags& flags,
                                                       const std::filesystem::path& output,
                                                       const quantise::Importance* known,
                                                       bool allow_requantise, bool keep_split,
                                                       engine::RamBudget& budget, unsigned threads);

/// The file in which the measurements for an output are noted while it is not finished.
[[nodiscard]] std::filesystem::path measurements_path(const std::filesystem::path& output);

}  // namespace brimful::cli
