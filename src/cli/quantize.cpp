#include "cli/quantize.h"

#include <fmt/format.h>
#include <malloc.h>

#include <algorithm>
#include <filesystem>
#include <memory>
#include <regex>
#include <string>
#include <vector>

#include "base/counted.h"
#include "base/progress.h"
#include "base/standard_error.h"
#include "base/standard_output.h"
#include "cli/exit_code.h"
#include "cli/flag_names.h"
#include "cli/quantize_budget.h"
#include "cli/ram_budget.h"
#include "engine/llama_log.h"
#include "engine/ram_budget.h"
#include "hardware/compute_threads.h"
#include "quantise/importance.h"
#include "quantise/kl_meter.h"
#include "quantise/mixes.h"
#include "quantise/progress_state.h"
#include "quantise/recipe.h"
#include "quantise/writer.h"

namespace brimful::cli {
namespace {

namespace fs = std::filesystem;

/// More than reading, quantising and writing takes, with the program itself.
constexpr Bytes kWriting{512 * 1024 * 1024};

struct Arguments {
  std::string input;
  std::string output;
  std::string target;
  std::string imatrix;
  std::vector<std::string> tensor_types;
  std::string output_type;
  std::string embedding_type;
  bool allow_requantise = false;
  bool pure = false;
  bool leave_output = false;
  bool keep_split = false;
  bool dry_run = false;
  bool force = false;
  std::optional<std::string> ram;
  std::optional<int> threads;
  BudgetFlags budget;
};

Result<ggml_type> type_called(const std::string& name, const char* flag) {
  const auto type = quantise::find_type(name);
  if (!type)
    return fail(ErrorCode::kInvalidArgument,
                fmt::format("{} {}: is no type that weights can have, such as q4_K or iq4_xs", flag, name));
  return *type;
}

/// Reads a value of --tensor-type, PATTERN=TYPE. llama.cpp's quantiser takes patterns in lower case, too.
Result<std::pair<std::string, ggml_type>> tensor_type(const std::string& value) {
  const std::size_t equals = value.find('=');
  if (equals == std::string::npos || equals == 0)
    return fail(ErrorCode::kInvalidArgument,
                fmt::format("--tensor-type {}: write PATTERN=TYPE, as in attn_v=q6_K", value));
  const std::string pattern = CLI::detail::to_lower(value.substr(0, equals));
  try {
    const std::regex valid(pattern);
  } catch (const std::regex_error&) {
    return fail(ErrorCode::kInvalidArgument,
                fmt::format("--tensor-type {}: {} is no regular expression", value, pattern));
  }
  BRIMFUL_TRY(const ggml_type type, type_called(value.substr(equals + 1), "--tensor-type"));
  return std::pair{pattern, type};
}

Result<quantise::Request> request_of(const Arguments& arguments) {
  quantise::Request out;
  const quantise::Target* const target = quantise::find_target(arguments.target);
  if (target == nullptr) {
    std::string names;
    for (const quantise::Target& known : quantise::targets())
      names += fmt::format("{}{}", names.empty() ? "" : ", ", known.name);
    return fail(ErrorCode::kInvalidArgument,
                fmt::format("{}: is none of llama.cpp's quantisations: {}", arguments.target, names));
  }
  out.target = *target;
  out.allow_requantise = arguments.allow_requantise;
  out.pure = arguments.pure;
  out.leave_output = arguments.leave_output;
  out.keep_split = arguments.keep_split;
  if (!arguments.output_type.empty()) {
    BRIMFUL_TRY(out.output_type, type_called(arguments.output_type, "--output-tensor-type"));
  }
  if (!arguments.embedding_type.empty()) {
    BRIMFUL_TRY(out.embedding_type, type_called(arguments.embedding_type, "--token-embedding-type"));
  }
  for (const std::string& value : arguments.tensor_types) {
    BRIMFUL_TRY(out.tensor_types.emplace_back(), tensor_type(value));
  }
  return out;
}

/// The path that the output gets: with --keep-split, without `.gguf`, because numbers follow.
fs::path path_of(const Arguments& arguments, std::size_t files) {
  fs::path out = arguments.output;
  return files > 1 && out.extension() == ".gguf" ? out.replace_extension() : out;
}

/// Refuses an output that must not be replaced, before any work.
Status check_output(const Arguments& arguments, const model::ModelProfile& profile) {
  const std::size_t files = arguments.keep_split ? profile.files.size() : 1;
  for (std::size_t i = 0; i < files; ++i) {
    const fs::path file = quantise::output_path(path_of(arguments, files), i, files);
    std::error_code error;
    const fs::file_status status = fs::status(file, error);
    if (!fs::exists(status)) continue;
    for (const model::ModelFile& source : profile.files) {
      if (fs::equivalent(file, source.path, error))
        return fail(ErrorCode::kInvalidArgument,
                    fmt::format("{}: is the source: name another file", file.string()));
    }
    if (!fs::is_regular_file(status))
      return fail(ErrorCode::kInvalidArgument,
                  fmt::format("{}: is no regular file: name another one", file.string()));
    if (!arguments.force && !fs::exists(quantise::state_path(path_of(arguments, files))))
      return fail(ErrorCode::kInvalidArgument,
                  fmt::format("{} exists; add --force to replace it", file.string()));
  }
  return {};
}

Status write(const Arguments& arguments, const model::ModelProfile& profile, const quantise::Recipe& recipe,
             const quantise::Importance* importance, engine::RamBudget& budget, unsigned threads) {
  const fs::path path = path_of(arguments, recipe.files.size());
  ::malloc_trim(0);  // what the headers took
  BRIMFUL_TRY(const Bytes room, budget.room());
  ProgressBar bar("quantising " + path.filename().string(), Bytes{recipe.size()});
  const quantise::WriteOptions options{.path = path,
                                       .threads = threads,
                                       .room = room,
                                       .ram_name = flag_names().ram,
                                       .progress = [&](Bytes done) { bar.update(done); }};
  BRIMFUL_TRY(const quantise::Written written, quantise::write_model(profile, recipe, importance, options));
  bar.finish();
  if (written.resumed > Bytes{})
    tell("brimful: went on with an earlier run, which had written {}\n", format_bytes(written.resumed));
  return write_standard_output(
      fmt::format("wrote {}: {} in {}, {:.2f} bits per weight\n", written.files.front().string(),
                  format_bytes(written.bytes), counted(written.files.size(), "file"),
                  8.0 * static_cast<double>(written.bytes.value) / static_cast<double>(profile.parameters)));
}

/// The memory that other instances are told this process will take: the budget that was asked for, or what
/// the work takes at most.
Bytes promise(const Arguments& arguments, const model::ModelProfile& profile,
              const quantise::Importance* importance, Bytes budget) {
  if (arguments.ram) return budget;
  Bytes most = kWriting;
  if (importance != nullptr) {
    for (const auto& [name, columns] : importance->columns) most += Bytes{columns.size() * sizeof(float)};
  }
  const bool measures =
      arguments.budget.to && arguments.budget.effort != "weights" && arguments.budget.effort != "imatrix";
  if (measures) {
    const Bytes needed = quantise::KlMeter::memory_needed(profile, {.windows = arguments.budget.windows});
    if (most + needed <= budget) most += needed;
  }
  return std::min(most, budget);
}

Status quantize(const Arguments& arguments) {
  engine::capture_llama_logs();
  engine::RamBudget::Options wanted{.name = flag_names().ram};
  if (arguments.ram) {
    BRIMFUL_TRY(wanted.wanted, parse_ram(*arguments.ram));
  }
  std::optional<quantise::Request> request;
  if (!arguments.budget.to) {
    BRIMFUL_TRY(request, request_of(arguments));
  }
  BRIMFUL_TRY(const auto budget, engine::RamBudget::create(std::move(wanted)));
  BRIMFUL_TRY_VOID(budget->decide_first());
  const hardware::ThreadChoice threads =
      hardware::choose_threads(arguments.threads, hardware::read_compute_limits(), "-t");

  BRIMFUL_TRY(const model::ModelProfile profile, model::read_model(arguments.input));
  std::optional<quantise::Importance> importance;
  if (!arguments.imatrix.empty()) {
    BRIMFUL_TRY(importance, quantise::read_importance(arguments.imatrix, profile));
  }
  budget->settle(promise(arguments, profile, importance ? &*importance : nullptr, budget->bytes()));
  const quantise::Importance* known = importance ? &*importance : nullptr;
  const auto compute = static_cast<unsigned>(threads.threads);
  BRIMFUL_TRY_VOID(check_output(arguments, profile));
  quantise::Recipe recipe;
  if (request) {
    BRIMFUL_TRY(recipe, quantise::make_recipe(profile, *request, known));
  } else {
    BRIMFUL_TRY(BudgetedRecipe made,
                recipe_for_budget(profile, arguments.budget, arguments.output, known,
                                  arguments.allow_requantise, arguments.keep_split, *budget, compute));
    recipe = std::move(made.recipe);
    importance = std::move(made.importance);
    known = &*importance;
    tell("brimful: {}\n", made.summary);
  }
  if (arguments.dry_run)
    return write_standard_output(fmt::format("{}: {} bytes ({})\n", arguments.output, recipe.size(),
                                             format_bytes(Bytes{recipe.size()})));
  BRIMFUL_TRY_VOID(write(arguments, profile, recipe, known, *budget, compute));
  for (const std::optional<std::string>& note : {budget->note(), threads.note}) {
    if (note) tell("brimful: {}\n", *note);
  }
  std::error_code ignored;
  fs::remove(measurements_path(arguments.output), ignored);
  return {};
}

}  // namespace

void add_quantize_command(CLI::App& app, int& exit_code) {
  const auto arguments = std::make_shared<Arguments>();
  Arguments& a = *arguments;
  CLI::App* const command = app.add_subcommand(
      "quantize", "make a smaller model: with llama.cpp's quantisations, byte for byte, or to a budget");
  command->add_option("INPUT", a.input, "GGUF file; of a split model, the first part")->required();
  command->add_option("OUTPUT", a.output, "GGUF file to write")->required();
  command->add_option("TYPE", a.target, "one of llama.cpp's quantisations, such as Q4_K_M, or COPY");
  command->add_option("--imatrix", a.imatrix, "importance matrix in GGUF, as llama-imatrix writes it");
  command->add_flag("--allow-requantize", a.allow_requantise,
                    "take a source that is quantised already: it loses more than one of F16 or F32");
  command->add_flag("--pure", a.pure, "give all weights the type of TYPE, without its mix");
  command->add_flag("--leave-output-tensor", a.leave_output, "do not quantise output.weight");
  command->add_option("--output-tensor-type", a.output_type, "type of output.weight, such as q6_K");
  command->add_option("--token-embedding-type", a.embedding_type, "type of token_embd.weight, such as q4_K");
  command
      ->add_option("--tensor-type", a.tensor_types,
                   "PATTERN=TYPE: type of the tensors whose names match the regular expression; may be given "
                   "several times")
      ->multi_option_policy(CLI::MultiOptionPolicy::TakeAll);
  command->add_flag("--keep-split", a.keep_split,
                    "write as many files as the source has (default: one file)");
  command->add_flag("--dry-run", a.dry_run, "print the size, and write nothing");
  command->add_flag("--force", a.force, "replace an existing file");
  command->add_option("--ram", a.ram, "budget of RAM, such as 2GiB (default: what the machine leaves free)");
  command->add_option("-t,--threads", a.threads, "number of threads (default: one for each core)");
  add_budget_flags(*command, a.budget);
  for (const char* const flag :
       {"--pure", "--leave-output-tensor", "--output-tensor-type", "--token-embedding-type", "--tensor-type"})
    command->get_option(flag)->excludes("--to");
  command->callback([arguments, &exit_code] {
    if (arguments->target.empty() != arguments->budget.to.has_value())
      throw CLI::ValidationError("give either TYPE or --to");
    exit_code = report(quantize(*arguments));
  });
}

}  // namespace brimful::cli
