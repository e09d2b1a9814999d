#include "cli/probe.h"

#include <fmt/format.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <algorithm>

#include "base/standard_error.h"
#include "base/standard_output.h"
#include "cli/exit_code.h"
#include "cli/model_listing.h"
#include "cli/probe_text.h"
#include "hardware/compute_threads.h"
#include "hardware/diagnostics.h"
#include "hub/model_source.h"
#include "probe/probe.h"

namespace brimful::cli {
namespace {

struct Options {
  std::optional<std::string> model;
  std::optional<int> threads;
  bool refresh = false;
  bool quick = false;
  bool json = false;
};

hardware::ModelSize size_of(const model::ModelProfile& profile) {
  hardware::ModelSize out{profile.weight_bytes()};
  for (const model::TensorInfo& tensor : profile.tensors) {
    if (tensor.role != model::Role::kExpert || tensor.shape[2] <= 1) continue;
    out.experts += tensor.bytes;
    out.share_used = std::clamp(
        static_cast<double>(profile.experts_used) / static_cast<double>(tensor.shape[2]), 0.001, 1.0);
  }
  return out;
}

Status show_machine(const Options& options) {
  std::optional<model::ModelProfile> profile;
  if (options.model) {
    BRIMFUL_TRY(const std::filesystem::path file,
                hub::path_of(*options.model, hub::HubCache::of_environment()));
    BRIMFUL_TRY(profile, model::read_model(file));
  }
  const auto refresh = options.refresh ? probe::Refresh::kAll
                       : options.quick
                           ? (profile ? probe::Refresh::kModelsTypes : probe::Refresh::kUsualTypes)
                           : probe::Refresh::kMissing;
  const auto choice = hardware::choose_threads(options.threads, hardware::read_compute_limits(), "-t");
  if (choice.note) tell("note: {}\n", *choice.note);
  const int threads = choice.threads;
  BRIMFUL_TRY(const hardware::Profile machine,
              measure_machine(profile ? &*profile : nullptr, threads, refresh, session::Links::kMeasure,
                              MeasureNews::kAlways));
  if (options.json) return write_standard_output(hardware::to_json(machine) + '\n');
  std::string text = machine_text(machine);
  const auto size = profile ? std::optional(size_of(*profile)) : std::nullopt;
  for (const std::string& complaint : hardware::diagnostics(machine, size))
    text += fmt::format("warning: {}\n", complaint);
  if (!profile) text += "note: the disk was not measured: name a model on it with -m\n";
  return write_standard_output(text);
}

}  // namespace

void add_probe_command(CLI::App& app, int& exit_code) {
  auto* const command = app.add_subcommand(
      "probe", "measure the speed of this machine's CPU, RAM, disk and GPUs, and show what limits it");
  auto options = std::make_shared<Options>();
  command->add_option(
      "-m,--model,model", options->model,
      "GGUF file, or the name of a model in the cache: measures the disk it is on, and its types of weights");
  command->add_option("-t,--threads", options->threads, "number of compute threads (default: physical cores)")
      ->check(CLI::Range(1, 512));
  command->add_flag("--refresh", options->refresh, "measure again, even if the machine has not changed");
  command->add_flag(
      "--quick", options->quick,
      "measure fewer types of weights: with -m those of the model (a quarter of a minute), without it F16, "
      "Q8_0, "
      "Q6_K and Q4_K, once each (some seconds); the others are measured when a model needs them");
  command->add_flag("--json", options->json, "print JSON, for `brimful plan --hardware`");
  command->callback([options, &exit_code] { exit_code = report(show_machine(*options)); });
}

}  // namespace brimful::cli
