#include "cli/probe.h"

#include <common.h>
#include <fmt/format.h>
#include <unistd.h>

#include <CLI/CLI.hpp>

#include "base/standard_output.h"
#include "cli/exit_code.h"
#include "cli/model_listing.h"
#include "cli/probe_text.h"
#include "hardware/complaints.h"
#include "probe/probe.h"

namespace strata::cli {
namespace {

struct Options {
  std::optional<std::string> model;
  std::optional<int> threads;
  bool refresh = false;
  bool quick = false;
  bool json = false;
};

Status show_machine(const Options& options) {
  std::optional<model::ModelProfile> profile;
  if (options.model) {
    STRATA_TRY(profile, model::read_model(*options.model));
  }
  const auto refresh = options.refresh ? probe::Refresh::kAll
                       : options.quick ? probe::Refresh::kModelsTypes
                                       : probe::Refresh::kMissing;
  const int threads = options.threads.value_or(std::max(1, common_cpu_get_num_math()));
  STRATA_TRY(const hardware::Profile machine,
             measure_machine(profile ? &*profile : nullptr, threads, refresh, MeasureNews::kAlways));
  if (options.json) return write_standard_output(hardware::to_json(machine) + '\n');
  std::string text = machine_text(machine);
  const auto bytes = profile ? std::optional(profile->weight_bytes()) : std::nullopt;
  for (const std::string& complaint : hardware::complaints(machine, bytes))
    text += fmt::format("mind: {}\n", complaint);
  if (!profile) text += "note: name a model with -m to measure the disk it lies on\n";
  return write_standard_output(text);
}

}  // namespace

void add_probe_command(CLI::App& app, int& exit_code) {
  auto* const command =
      app.add_subcommand("probe", "measure this machine: what it is, how fast, what limits it");
  auto options = std::make_shared<Options>();
  command->add_option("-m,--model,model", options->model, "a GGUF file, on the disk that is to be measured");
  command->add_option("-t,--threads", options->threads, "threads to compute with (default: physical cores)")
      ->check(CLI::Range(1, 512));
  command->add_flag("--refresh", options->refresh, "measure again, even if nothing has changed");
  command->add_flag("--quick", options->quick,
                    "measure only the types of the model given with -m, else the usual ones: half a minute");
  command->add_flag("--json", options->json, "print JSON, for `strata plan --hardware`");
  command->callback([options, &exit_code] { exit_code = report(show_machine(*options)); });
}

}  // namespace strata::cli
