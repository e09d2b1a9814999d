#include "cli/plan.h"

#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <cerrno>
#include <cstring>
#include <fstream>
#include <utility>

#include "base/standard_error.h"
#include "base/standard_output.h"
#include "cli/exit_code.h"
#include "cli/fit.h"
#include "cli/model_choice.h"
#include "cli/model_listing.h"
#include "cli/plan_output.h"

namespace brimful::cli {
namespace {

Status write_file(const std::string& path, const std::string& text) {
  std::ofstream out(path);
  out << text;
  out.close();
  if (out) return {};
  return fail(ErrorCode::kIo, fmt::format("{}: cannot be written: {}", path, std::strerror(errno)));
}

/// What --fit has found; nothing when the flag was not given.
struct Fitted {
  std::vector<FitRow> rows;
  std::optional<std::size_t> chosen;
};

Status show(const PlanReport& report, const PlanOptions& options, const Fitted& fitted) {
  if (options.svg) BRIMFUL_TRY_VOID(write_file(*options.svg, plan_svg(report)));
  if (!options.json) {
    const std::string table = fitted.rows.empty() ? "" : fit_table(fitted.rows, fitted.chosen) + '\n';
    return write_standard_output(table + plan_text(report));
  }
  const auto replace = nlohmann::json::error_handler_t::replace;
  nlohmann::ordered_json json = plan_json(report, options);
  if (!fitted.rows.empty()) json["fit"] = fit_json(fitted.rows, fitted.chosen);
  return write_standard_output(json.dump(2, ' ', false, replace) + '\n');
}

/// Writes the reason why there is no plan: as JSON, or for --fit as a table in front of the message.
Status show_error(const Error& error, const PlanOptions& options, const Fitted& fitted) {
  if (!options.json) {
    if (!fitted.rows.empty()) tell("{}", fit_table(fitted.rows, fitted.chosen));
    return {};
  }
  nlohmann::json json{{"error", {{"code", to_string(error.code)}, {"message", error.message}}}};
  if (error.code == ErrorCode::kInfeasible) json["fits"] = false;
  if (!fitted.rows.empty()) json["fit"] = fit_json(fitted.rows, fitted.chosen);
  return write_standard_output(json_text(json) + '\n');
}

/// Makes the plan; with --fit, that of the model which it chooses.
Result<PlanReport> make(PlanOptions options, Fitted& fitted) {
  if (!options.run.fetch.fit) return make_report(options);
  if (!options.run.model.empty())
    return fail(ErrorCode::kInvalidArgument,
                "--fit chooses among the files of a repository: name it with -hf, and no other model");
  options.run.hub = options.hub;
  options.run.vram = options.vram;
  BRIMFUL_TRY_VOID(apply_fit(options.run));
  options.vram = std::exchange(options.run.vram, std::nullopt);
  options.run.hub.clear();
  BRIMFUL_TRY(const hub::Settings settings, settings_of(options.run.fetch));
  BRIMFUL_TRY(hub::Http http, hub::Http::open(settings));
  BRIMFUL_TRY(FitReport found, choose_fit(options, http, hub::HubCache::of_environment()));
  fitted = {std::move(found.rows), found.chosen};
  if (!found.chosen) return fail(ErrorCode::kInfeasible, found.problem);
  const hub::HubModel& name = found.files.name;
  options.hub =
      name.quantisation ? fmt::format("{}:{}", name.repository, *name.quantisation) : name.repository;
  return make_report(options);
}

int run(const PlanOptions& options) {
  Fitted fitted;
  const Result<PlanReport> made = make(options, fitted);
  if (made) return report(show(*made, options, fitted));
  (void)report(show_error(made.error(), options, fitted));
  return report(std::unexpected(made.error()));
}

}  // namespace

void add_plan_command(CLI::App& app, int& exit_code) {
  auto* const command =
      app.add_subcommand("plan",
                         "predict if a model fits, where its weights would be placed, how fast it would run, "
                         "and what would make it faster; reads no weights");
  auto options = std::make_shared<PlanOptions>();
  command->add_option("-m,--model,model", options->run.model,
                      "GGUF file (of a split model: the first part), the name of a model in the cache, or an "
                      "https:// address: only "
                      "the header is read");
  command->add_option(
      "--hf,--hf-repo", options->hub,
      "model on the Hugging Face Hub: ORGANISATION/REPOSITORY[:QUANTISATION]; only the header is read");
  add_fit_flag(*command, options->run.fetch);
  add_shape_flags(*command, options->run);
  const std::string machine = "Machine";
  command
      ->add_option(
          "--like", options->like,
          "plan for another machine, by the names of its parts: \"rtx-3060-12gb, 64gb-ddr4-3600, nvme-gen3\"")
      ->group(machine);
  command
      ->add_option("--hardware", options->hardware,
                   "plan for another machine: a file that `brimful probe --json` wrote there")
      ->group(machine);
  command
      ->add_option(
          "--vram", options->vram,
          "VRAM budget, such as 8GiB, of the first GPU; several GPUs: CUDA0=8GiB,CUDA1=6GiB; without a "
          "size, or auto: the free VRAM, less a reserve")
      ->group(machine);
  add_placement_flags(*command, options->run);
  command
      ->add_option("--for", options->purpose,
                   "workload: chat, batch, or batch:N for N requests that decode together")
      ->capture_default_str();
  command
      ->add_option("--prompt-tokens", options->prompt_tokens,
                   "length of the prompt in tokens (default: 512, or half of a shorter context)")
      ->check(CLI::Range(1, 1 << 20));
  command
      ->add_flag("--json", options->json, "print JSON (docs/plan-json.md), which `brimful run --plan` takes")
      ->group("Output");
  command->add_option("--svg", options->svg, "file for a drawing of the memory tiers, as SVG")
      ->group("Output");
  command->callback([options, &exit_code] { exit_code = run(*options); });
}

}  // namespace brimful::cli
