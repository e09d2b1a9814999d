#include "cli/model_choice.h"

#include <fmt/format.h>

#include <CLI/CLI.hpp>

#include "base/standard_error.h"
#include "cli/fetch.h"
#include "cli/own_process.h"
#include "cli/planner.h"
#include "cli/start.h"
#include "hub/model_source.h"

namespace brimful::cli {
namespace {

// Measuring a machine that is not known yet takes a quarter of a minute: little beside a larger download.
constexpr Bytes kWorthMeasuring = kGiB * 4;

/// The line that says what a model will need and how fast it will be.
std::string forecast_line(const PlanReport& report, const hub::HubFiles& model) {
  std::string vram;
  for (const plan::DeviceShare& device : report.plan.devices.devices)
    vram += fmt::format("{} of {}, ", format_bytes(device.budget - device.unused), device.name);
  const plan::MemoryMap map = report.plan.host.memory_map(report.inputs.profile);
  const std::string speed =
      report.inputs.machine.measured.empty()
          ? "speed unknown (see 'brimful probe')"
          : fmt::format("{:.1f} tokens/s", report.plan.forecast.decode_tokens_per_second);
  return fmt::format("fits: {}{} of RAM, {}; {}, {} to fetch", vram, format_bytes(map.peak()), speed,
                     model.quantisation().empty() ? "no quantisation in its name" : model.quantisation(),
                     format_bytes(model.size()));
}

/// Plans the model from its header, and tells the forecast. Errors: kInfeasible. What else goes wrong is a
/// note, because the plan is only advice.
Status tell_forecast(const RunOptions& options, const std::filesystem::path& header,
                     const hub::HubFiles& model) {
  PlanOptions plan;
  plan.run = options;
  plan.run.model = header.string();
  plan.run.hub.clear();
  plan.run.vram = plan.run.rpc = std::nullopt;
  plan.vram = options.vram;
  plan.measure = model.size() >= kWorthMeasuring;
  const Result<PlanReport> report = make_report(plan);
  if (report) {
    tell("{}\n", forecast_line(*report, model));
    return {};
  }
  if (report.error().code == ErrorCode::kInfeasible) {
    return fail(ErrorCode::kInfeasible,
                fmt::format("{}; nothing was fetched ({})", report.error().message, model.quantisation()));
  }
  if (report.error().code != ErrorCode::kNotFound || plan.measure)
    tell_note(fmt::format("no forecast: {}", report.error().message));
  return {};
}

Result<std::string> fetch(const RunOptions& options, const hub::HubModel& name, const hub::HubCache& cache) {
  BRIMFUL_TRY(const hub::Settings settings, hub::settings_from_environment());
  BRIMFUL_TRY(hub::Http http, hub::Http::open(settings));
  BRIMFUL_TRY(const hub::HubFiles model, hub::find_files(http, name));
  {
    BRIMFUL_TRY(const hub::TemporaryFolder folder, hub::TemporaryFolder::make_in(cache.folder()));
    BRIMFUL_TRY(const std::filesystem::path header, hub::fetch_headers_of(http, model, folder.path()));
    BRIMFUL_TRY_VOID(tell_forecast(options, header, model));
  }
  BRIMFUL_TRY(const std::filesystem::path file, download_and_show(settings, cache, model));
  return file.string();
}

bool is_offline() {
  const auto settings = hub::settings_from_environment();
  return settings && settings->offline;
}

}  // namespace

void add_hub_flag(CLI::App& command, RunOptions& options) {
  command.add_option("--hf,--hf-repo", options.hub,
                     "model on the Hugging Face Hub: ORGANISATION/REPOSITORY[:QUANTISATION]; downloaded when "
                     "the cache lacks it");
}

Status choose_model(RunOptions& options) {
  if (!options.hub.empty() && !options.model.empty())
    return fail(ErrorCode::kInvalidArgument, "name one model: with '-m' or with '-hf', not both");
  const hub::HubCache cache = hub::HubCache::of_environment();
  if (options.hub.empty()) {
    BRIMFUL_TRY(const std::filesystem::path path, hub::path_of(options.model, cache));
    options.model = path.string();
    return {};
  }
  BRIMFUL_TRY(const hub::HubModel name, hub::parse_hub_model(options.hub));
  BRIMFUL_TRY(const auto cached, hub::without_the_hub(cache, name, is_offline()));
  if (cached) {
    options.model = cached->file.string();
  } else {
    BRIMFUL_TRY(options.model, in_own_process([&] { return fetch(options, name, cache); }));
  }
  options.hub.clear();
  return {};
}

}  // namespace brimful::cli
