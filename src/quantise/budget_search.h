#pragma once

#include <filesystem>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/bytes.h"
#include "base/result.h"
#include "model/model_profile.h"
#include "quantise/importance.h"
#include "quantise/kl_meter.h"
#include "quantise/losses.h"
#include "quantise/recipe.h"
#include "quantise/search.h"

namespace brimful::quantise {

/// How much is measured before types are chosen.
enum class Effort {
  kAuto,        ///< kKl where the model fits into the memory, else kImportance with a matrix, else kWeights
  kKl,          ///< the divergence of the model's predictions, one tensor after another
  kImportance,  ///< the error of the weights, weighed by an importance matrix
  kWeights,     ///< the error of the weights
};

[[nodiscard]] std::string_view to_string(Effort effort);

struct SearchOptions {
  Effort effort = Effort::kAuto;
  unsigned threads = 1;
  /// The memory that the search may take.
  Bytes room;
  /// The calibration text; without one, the model writes it.
  std::optional<std::filesystem::path> text;
  std::size_t windows = 4;  ///< Of the calibration text, of 256 tokens each.
  std::size_t most_measurements = 256;
  std::vector<ggml_type> types;  ///< The only candidates; empty: all.
  std::filesystem::path journal;
  std::function<void(std::size_t done, std::size_t all)> progress;
};

/// What was measured of a model: everything that a choice needs.
struct Measured {
  Effort effort = Effort::kWeights;
  std::vector<TensorLosses> losses;
  /// With a row for every matrix.
  Importance importance;
  std::string text;             ///< For the ledger.
  std::string importance_from;  ///< For the ledger.
  /// Remarks for the user.
  std::vector<std::string> notes;
  /// The meter, when the divergence was measured.
  std::unique_ptr<KlMeter> meter;
};

/// Measures a model. `importance` may be null: with Effort::kKl it is then computed from the calibration
/// text. `recipe` says which tensors are quantised. Errors: kInfeasible when the effort that was asked for
/// needs more memory than `room`; kInvalidArgument for an effort without what it needs; those of
/// measure_losses().
[[nodiscard]] Result<Measured> measure(const model::ModelProfile& profile, const Recipe& recipe,
                                       const Importance* importance, const SearchOptions& options);

/// Measures the divergence of the model with all types of a choice. It changes the weights in the meter's
/// memory. Requires: measured.meter. Errors: kIo, kInternal.
[[nodiscard]] Result<double> divergence_of(const model::ModelProfile& profile, Measured& measured,
                                           const Choice& choice, unsigned threads);

/// What a plan says about types: whether all weights stay in memory, and the speed.
struct Forecast {
  bool resident = false;
  double tokens_per_second = 0;
};
using Plans = std::function<Result<Forecast>(const std::vector<ggml_type>& types)>;

/// What a user wants of the output.
struct Goal {
  std::optional<Bytes> size;
  std::optional<Bytes> ram;
  std::optional<std::string> vram;  ///< As `brimful plan` takes it.
  std::optional<double> tokens_per_second;
  std::string text;  ///< As the user gave it.

  [[nodiscard]] bool needs_plans() const { return ram || vram || tokens_per_second; }
};

/// Parses a goal: a size, or `KEY=VALUE` separated by commas, with the keys size, ram, vram and tps. Errors:
/// kInvalidArgument. The message begins with the faulty part.
[[nodiscard]] Result<Goal> parse_goal(const std::string& text);

/// Chooses types for a goal. `header` is the size of the output's header. `plans` is called only for a goal
/// that needs plans. Errors: kInfeasible, with what is possible.
[[nodiscard]] Result<Choice> choose_for(const Goal& goal, const SearchSpace& space, std::uint64_t header,
                                        const Plans& plans);

}  // namespace brimful::quantise
