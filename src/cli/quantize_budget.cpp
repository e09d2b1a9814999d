#include "cli/quantize_budget.h"

#include <fmt/format.h>
#include <malloc.h>
#include <unistd.h>

#include <algorithm>
#include <cmath>
#include <utility>
#include <vector>

#include "base/replace_file.h"
#include "base/standard_error.h"
#include "cli/planner.h"
#include "model/file_fingerprint.h"
#include "plan/requantise.h"
#include "quantise/ledger.h"
#include "quantise/picture.h"
#include "quantise/search.h"

namespace brimful::cli {
namespace {

namespace fs = std::filesystem;

constexpr int kMostAttempts = 8;
constexpr int kCurvePoints = 48;

Result<quantise::Effort> effort_of(const std::string& name) {
  using quantise::Effort;
  for (const Effort effort : {Effort::kAuto, Effort::kKl, Effort::kImportance, Effort::kWeights}) {
    if (name == quantise::to_string(effort)) return effort;
  }
  return fail(ErrorCode::kInvalidArgument,
              fmt::format("--effort {}: is not one of auto, kl, imatrix, weights", name));
}

Result<std::vector<ggml_type>> types_of(const std::vector<std::string>& names) {
  std::vector<ggml_type> out;
  for (const std::string& name : names) {
    const auto type = quantise::find_type(name);
    if (!type || !ggml_is_quantized(*type))
      return fail(ErrorCode::kInvalidArgument,
                  fmt::format("--types {}: is no type that weights can have, such as q4_K or iq4_xs", name));
    out.push_back(*type);
  }
  return out;
}

/// A request that changes the type of every weight that llama.cpp's quantiser would touch.
quantise::Request every_weight(const model::ModelProfile& profile, bool allow_requantise, bool keep_split) {
  const bool has_q8 = std::ranges::any_of(
      profile.tensors, [](const model::TensorInfo& tensor) { return tensor.type == GGML_TYPE_Q8_0; });
  quantise::Request request;
  request.target = *quantise::find_target(has_q8 ? "F16" : "Q8_0");
  request.allow_requantise = allow_requantise;
  request.keep_split = keep_split;
  return request;
}

std::uint64_t header_bytes(const quantise::Recipe& recipe) {
  std::uint64_t out = 0;
  for (const quantise::OutputFile& file : recipe.files) out += file.header.size();
  return out;
}

/// Makes the function that asks the planner of `brimful plan` about types.
Result<quantise::Plans> plans_for(const model::ModelProfile& profile, const BudgetFlags& flags,
                                  const quantise::Goal& goal) {
  PlanOptions options;
  options.run.model = profile.files.front().path.string();
  if (goal.ram) options.run.ram = std::to_string(goal.ram->value);
  options.vram = goal.vram;
  options.like = flags.like;
  options.hardware = flags.hardware;
  BRIMFUL_TRY(const PlanReport report, make_report(options));
  return [inputs = report.inputs](const std::vector<ggml_type>& types) -> Result<quantise::Forecast> {
    const plan::Inputs changed = plan::requantised(inputs, types);
    const auto made = plan::make_plan(changed);
    if (!made && made.error().code == ErrorCode::kInfeasible) return quantise::Forecast{};
    if (!made) return std::unexpected(made.error());
    return quantise::Forecast{.resident = !made->host.memory_map(changed.profile).streams(),
                              .tokens_per_second = made->forecast.decode_tokens_per_second};
  };
}

/// One line on a terminal that counts steps.
class StepLine {
 public:
  explicit StepLine(std::string label) : label_(std::move(label)) {}
  StepLine(const StepLine&) = delete;
  StepLine& operator=(const StepLine&) = delete;
  ~StepLine() {
    if (shown_) tell("\r\x1b[K");
  }
  void update(std::size_t done, std::size_t all) {
    if (::isatty(STDERR_FILENO) == 0) return;
    shown_ = true;
    tell("\r\x1b[K{} {} of {}", label_, done, all);
  }

 private:
  const std::string label_;
  bool shown_ = false;
};

/// Draws the best choices for all sizes, and llama.cpp's mixes.
Status draw(const std::string& path, const model::ModelProfile& profile, const quantise::SearchSpace& space,
            const BudgetFlags& flags, const quantise::Choice& choice, std::uint64_t header,
            bool allow_requantise) {
  std::vector<quantise::PicturePoint> curve;
  const double low = static_cast<double>(header + space.smallest().tensor_bytes);
  const double high = static_cast<double>(header + space.largest().tensor_bytes);
  for (int i = 0; i < kCurvePoints; ++i) {
    const double bytes = low * std::pow(high / low, static_cast<double>(i) / kCurvePoints) + 1;
    const auto best =
        space.choose({.file = Bytes{static_cast<std::uint64_t>(bytes)}, .read_per_token = {}}, header);
    if (best) curve.push_back({"", static_cast<double>(header + best->tensor_bytes), best->loss});
  }
  std::vector<quantise::PicturePoint> mixes;
  for (const char* const name : {"Q2_K", "Q3_K_S", "Q3_K_M", "Q3_K_L", "IQ4_XS", "Q4_K_S", "Q4_K_M", "Q5_K_S",
                                 "Q5_K_M", "Q6_K", "Q8_0"}) {
    quantise::Request request{.target = *quantise::find_target(name)};
    request.allow_requantise = allow_requantise;
    BRIMFUL_TRY(const quantise::Recipe mix, quantise::make_recipe(profile, request, nullptr));
    std::vector<ggml_type> types;
    for (const model::TensorInfo& tensor : profile.tensors) types.push_back(tensor.type);
    for (const quantise::OutputTensor& tensor : mix.files.front().tensors) types[tensor.source] = tensor.type;
    if (const auto known = space.with(types))
      mixes.push_back({name, static_cast<double>(mix.size()), known->loss});
  }
  const std::string text =
      quantise::picture(profile.name, curve, mixes,
                        {*flags.to, static_cast<double>(header + choice.tensor_bytes), choice.loss});
  return replace_file(fs::absolute(path), [&](std::ostream& out) { out << text; });
}

}  // namespace

fs::path measurements_path(const fs::path& output) {
  return fs::absolute(output).string() + ".brimful-measured";
}

Result<BudgetedRecipe> recipe_for_budget(const model::ModelProfile& profile, const BudgetFlags& flags,
                                         const fs::path& output, const quantise::Importance* known,
                                         bool allow_requantise, bool keep_split, engine::RamBudget& budget,
                                         unsigned threads) {
  auto goal = quantise::parse_goal(*flags.to);
  if (!goal) return fail(goal.error().code, "--to " + goal.error().message);
  BRIMFUL_TRY(const quantise::Effort effort, effort_of(flags.effort));
  BRIMFUL_TRY(const std::vector<ggml_type> types, types_of(flags.types));
  BRIMFUL_TRY(const quantise::Recipe base,
              quantise::make_recipe(profile, every_weight(profile, allow_requantise, keep_split), nullptr));
  const std::uint64_t least = header_bytes(base) + quantise::least_tensor_bytes(profile, base, types);
  if (goal->size && goal->size->value < least)  // known before hours of measuring
    return fail(ErrorCode::kInfeasible, fmt::format("--to {}: the smallest possible is about {} ({} bytes)",
                                                    *flags.to, format_bytes(Bytes{least}), least));
  quantise::Plans plans;
  if (goal->needs_plans()) {
    BRIMFUL_TRY(plans, plans_for(profile, flags, *goal));
  }
  ::malloc_trim(0);
  BRIMFUL_TRY(const Bytes room, budget.room());
  quantise::SearchOptions options{
      .effort = effort,
      .threads = threads,
      .room = room,
      .windows = flags.windows,
      .most_measurements = flags.measurements,
      .types = types,
      .journal = flags.journal ? fs::absolute(*flags.journal) : measurements_path(output)};
  if (flags.text) options.text = *flags.text;
  quantise::Measured measured;
  {
    std::optional<StepLine> line;
    options.progress = [&](std::size_t done, std::size_t all) {
      if (!line) line.emplace("measuring");
      line->update(done, all);
    };
    BRIMFUL_TRY(measured, quantise::measure(profile, base, known, options));
  }
  for (const std::string& note : measured.notes) tell("brimful: {}\n", note);

  const quantise::SearchSpace space(profile, base, measured.losses);
  quantise::LedgerInputs inputs{.goal = goal->text,
                                .effort = std::string(quantise::to_string(measured.effort)),
                                .source = {},
                                .text = measured.text,
                                .importance = measured.importance_from};
  BRIMFUL_TRY(inputs.source, model::model_fingerprint(profile.files));
  const auto with_ledger = [&](const quantise::Choice& choice, const nlohmann::ordered_json& ledger) {
    return quantise::with_types(base, profile, choice.types,
                                quantise::nearest_file_type(profile, choice.types),
                                {{quantise::kLedgerKey, ledger.dump()}});
  };
  // The header holds the ledger, whose length depends a little on what it says.
  nlohmann::ordered_json ledger =
      quantise::ledger(profile, inputs, measured.losses, space.smallest(), 0.12345);
  BRIMFUL_TRY(quantise::Recipe recipe, with_ledger(space.smallest(), ledger));
  std::uint64_t header = header_bytes(recipe);
  quantise::Choice choice;
  for (int attempt = 0; attempt < kMostAttempts; ++attempt) {
    auto made = quantise::choose_for(*goal, space, header, plans);
    if (!made) return fail(made.error().code, "--to " + made.error().message);
    choice = std::move(*made);
    ledger = quantise::ledger(profile, inputs, measured.losses, choice, 0.12345);
    BRIMFUL_TRY(recipe, with_ledger(choice, ledger));
    if (header_bytes(recipe) <= header) break;
    header = header_bytes(recipe);
  }
  std::optional<double> divergence;
  if (measured.meter) {
    BRIMFUL_TRY(const double value, quantise::divergence_of(profile, measured, choice, threads));
    divergence = std::strtod(fmt::format("{:.4g}", value).c_str(), nullptr);
    measured.meter.reset();
  }
  ledger = quantise::ledger(profile, inputs, measured.losses, choice, divergence);
  BRIMFUL_TRY(recipe, with_ledger(choice, ledger));
  if (goal->size && recipe.size() > goal->size->value)
    return fail(ErrorCode::kInternal, fmt::format("--to {}: the header grew to {}", *flags.to,
                                                  format_bytes(Bytes{header_bytes(recipe)})));
  if (flags.json) {
    const auto write = [&](std::ostream& out) { out << ledger.dump(2) << '\n'; };
    BRIMFUL_TRY_VOID(replace_file(fs::absolute(*flags.json), write));
  }
  if (flags.svg) BRIMFUL_TRY_VOID(draw(*flags.svg, profile, space, flags, choice, header, allow_requantise));
  BudgetedRecipe out{
      .recipe = std::move(recipe), .importance = std::move(measured.importance), .summary = {}};
  out.summary = fmt::format("types for {}: {} of {}, predicted divergence {:.4g} nats per token{}", *flags.to,
                            format_bytes(Bytes{out.recipe.size()}), inputs.effort, choice.loss,
                            divergence ? fmt::format(", measured {:.4g}", *divergence) : "");
  return out;
}

void add_budget_flags(CLI::App& command, BudgetFlags& flags) {
  const char* const group = "To a budget";
  CLI::Option* const to =
      command
          .add_option(
              "--to", flags.to,
              "choose types for a budget, in place of TYPE: the size of the file, such as 40GiB; or "
              "vram=11.5GiB,ram=48GiB: all weights stay in this memory; or tps=3: as fast as that on this "
              "machine; several, separated by commas, with size=40GiB")
          ->group(group);
  command
      .add_option(
          "--effort", flags.effort,
          "what the types are chosen by: kl (how much each tensor changes the model's predictions), imatrix "
          "(the error of the weights, by --imatrix), weights (their error alone), or auto: kl where the "
          "model fits into the RAM budget")
      ->group(group)
      ->needs(to)
      ->capture_default_str();
  command
      .add_option(
          "--text", flags.text,
          "calibration text for kl, like what the model will be used for (default: the model writes it)")
      ->group(group)
      ->needs(to);
  command.add_option("--windows", flags.windows, "windows of 256 tokens of the text that are measured with")
      ->group(group)
      ->needs(to)
      ->capture_default_str()
      ->check(CLI::Range(1, 4096));
  command
      .add_option(
          "--measurements", flags.measurements,
          "most measurements for kl; with fewer than tensors, neighbouring layers are measured together")
      ->group(group)
      ->needs(to)
      ->capture_default_str()
      ->check(CLI::Range(1, 100000));
  command
      .add_option(
          "--types", flags.types,
          "the only types to choose from, separated by commas, such as q4_K,q5_K,q6_K (default: all; those "
          "of the IQ family compute slower on CPUs)")
      ->group(group)
      ->needs(to)
      ->delimiter(',')
      ->multi_option_policy(CLI::MultiOptionPolicy::TakeAll);
  command
      .add_option("--journal", flags.journal,
                  "file that keeps the measurements, so that a run with another --to need not repeat them")
      ->group(group)
      ->needs(to);
  command.add_option("--json", flags.json, "file for the ledger: inputs, measurements and choices")
      ->group(group)
      ->needs(to);
  command.add_option("--svg", flags.svg, "file for a picture of loss against bytes, with llama.cpp's mixes")
      ->group(group)
      ->needs(to);
  CLI::Option* const like =
      command
          .add_option(
              "--like", flags.like,
              "machine that vram, ram and tps are about: \"rtx-3060-12gb, 64gb-ddr4-3600, nvme-gen3\"")
          ->group(group)
          ->needs(to);
  command
      .add_option("--hardware", flags.hardware,
                  "machine that vram, ram and tps are about: a file that `brimful probe --json` wrote there")
      ->group(group)
      ->needs(to)
      ->excludes(like);
}

}  // namespace brimful::cli
