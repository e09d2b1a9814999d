#include "cli/plan.h"

#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <cerrno>
#include <cstring>
#include <fstream>

#include "base/standard_output.h"
#include "cli/exit_code.h"
#include "cli/model_listing.h"
#include "cli/plan_output.h"

namespace brimful::cli {
namespace {

Status write_file(const std::string& path, const std::string& text) {
  std::ofstream out(path);
  out << text;
  out.close();
  if (out) return {};
  return fail(ErrorCode::kIo, fmt::format("{}: cannot be written to: {}", path, std::strerror(errno)));
}

Status show(const PlanReport& report, const PlanOptions& options) {
  if (options.svg) BRIMFUL_TRY_VOID(write_file(*options.svg, plan_svg(report)));
  if (!options.json) return write_standard_output(plan_text(report));
  const auto replace = nlohmann::json::error_handler_t::replace;
  return write_standard_output(plan_json(report, options).dump(2, ' ', false, replace) + '\n');
}

/// Writes the reason why there is no plan as JSON.
Status show_error(const Error& error) {
  nlohmann::json json{{"error", {{"code", to_string(error.code)}, {"message", error.message}}}};
  if (error.code == ErrorCode::kInfeasible) json["fits"] = false;
  return write_standard_output(json_text(json) + '\n');
}

int run(const PlanOptions& options) {
  const Result<PlanReport> made = make_report(options);
  if (made) return report(show(*made, options));
  if (options.json) (void)report(show_error(made.error()));
  return report(std::unexpected(made.error()));
}

}  // namespace

void add_plan_command(CLI::App& app, int& exit_code) {
  auto* const command = app.add_subcommand(
      "plan", "say what would lie where, how fast it would be, and what would be better; reads no weight");
  auto options = std::make_shared<PlanOptions>();
  command->add_option(
      "-m,--model,model", options->run.model,
      "GGUF file (of a split model: the first part), or its https:// address: only the header is read");
  command->add_option("--hf,--hf-repo", options->hub, "ORGANISATION/REPOSITORY[:QUANTISATION] of the hub");
  add_shape_flags(*command, options->run);
  const std::string machine = "Machine";
  command
      ->add_option("--like", options->like, "another machine: \"rtx-3060-12gb, 64gb-ddr4-3600, nvme-gen3\"")
      ->group(machine);
  command
      ->add_option("--hardware", options->hardware,
                   "another machine: what `brimful probe --json` wrote there")
      ->group(machine);
  command->add_option("--vram", options->vram, "budget of the GPU, or of each: CUDA0=8GiB,CUDA1=6GiB")
      ->group(machine);
  add_placement_flags(*command, options->run);
  command->add_option("--for", options->purpose, "chat, batch or batch:N: N requests that decode together")
      ->capture_default_str();
  command
      ->add_option("--prompt-tokens", options->prompt_tokens,
                   "tokens of the prompt (default: 512, or half of a shorter context)")
      ->check(CLI::Range(1, 1 << 20));
  command
      ->add_flag("--json", options->json, "print JSON (docs/plan-json.md); `brimful run --plan` executes it")
      ->group("Output");
  command->add_option("--svg", options->svg, "draw the tiers into a file")->group("Output");
  command->callback([options, &exit_code] { exit_code = run(*options); });
}

}  // namespace brimful::cli
