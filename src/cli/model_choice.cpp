#include "cli/model_choice.h"

#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <utility>

#include "base/standard_error.h"
#include "cli/fetch.h"
#include "cli/fit.h"
#include "cli/own_process.h"
#include "cli/planner.h"
#include "cli/start.h"
#include "hub/model_source.h"
#include "model/gguf_reader.h"

namespace brimful::cli {
namespace {

// Measuring a machine that is not known yet takes a quarter of a minute: little beside a larger download.
constexpr Bytes kWorthMeasuring = kGiB * 4;
// A connection that gets less than 1 KiB/s counts as stalled, and there are several.
constexpr Bytes kLeastRate = kKiB * 64;

/// The line that says what a model will need and how fast it will be.
std::string forecast_line(const PlanReport& report, const hub::HubFiles& model) {
  std::string vram;
  const auto& devices = report.plan.devices.devices;
  for (const plan::DeviceShare& device : devices)
    vram += fmt::format("{} VRAM{}, ", format_bytes(device.budget - device.unused),
                        devices.size() > 1 ? fmt::format(" of {}", device.name) : "");
  const plan::MemoryMap map = report.plan.host.memory_map(report.inputs.profile);
  const std::string speed =
      report.inputs.machine.measured.empty()
          ? "speed unknown (see 'brimful probe')"
          : fmt::format("{:.1f} tokens/s", report.plan.forecast.decode_tokens_per_second);
  return fmt::format("fits: {}{} RAM, {}; {}, {}", vram, format_bytes(map.peak()), speed,
                     model.quantisation().empty() ? "no quantization in its name" : model.quantisation(),
                     format_bytes(model.size()));
}

/// Says that --fit would choose among the quantisations, where nobody has chosen and the disk slows the model
/// down.
void tell_about_fit(const PlanReport& report, const RunOptions& options, const hub::HubFiles& model) {
  const Bytes reads = report.plan.forecast.decode.reads;
  if (reads == Bytes{} || model.name.quantisation) return;
  std::string budgets = options.vram ? fmt::format("vram={},", *options.vram) : "";
  budgets += fmt::format("ram={}", options.ram ? *options.ram : format_bytes(report.inputs.host_budget));
  std::erase(budgets, ' ');
  tell_note(
      fmt::format("each token reads {} from the disk; --fit {} looks for a quantization that needs none",
                  format_bytes(reads), budgets));
}

/// The plan of a model before it is downloaded.
PlanOptions plan_options(const RunOptions& options) {
  PlanOptions plan;
  plan.run = options;
  plan.run.vram = plan.run.rpc = std::nullopt;
  plan.vram = options.vram;
  plan.advice = false;
  return plan;
}

/// Plans the model from its header, and tells the forecast. Errors: kInfeasible; kCorrupt and kUnsupported,
/// when it can never run. What else goes wrong is a note, because the plan is only advice.
Status tell_forecast(const RunOptions& options, const std::filesystem::path& header,
                     const hub::HubFiles& model) {
  PlanOptions plan = plan_options(options);
  plan.run.model = header.string();
  plan.run.hub.clear();
  plan.measure = model.size() >= kWorthMeasuring;
  const Result<PlanReport> report = make_report(plan);
  if (report) {
    tell("{} to fetch\n", forecast_line(*report, model));
    tell_about_fit(*report, options, model);
    return {};
  }
  const ErrorCode code = report.error().code;
  if (code == ErrorCode::kInfeasible || code == ErrorCode::kCorrupt || code == ErrorCode::kUnsupported) {
    return fail(code,
                fmt::format("{}; nothing was fetched ({})", report.error().message, model.quantisation()));
  }
  if (code != ErrorCode::kNotFound || plan.measure)
    tell_note(fmt::format("no forecast: {}", report.error().message));
  return {};
}

/// Chooses among the models of the repository by --fit, and fetches the chosen one.
Result<std::string> fetch_fit(const RunOptions& options, const hub::Settings& settings, hub::Http& http,
                              const hub::HubCache& cache) {
  PlanOptions plan = plan_options(options);
  plan.hub = options.hub;
  BRIMFUL_TRY(const FitReport fit, choose_fit(std::move(plan), http, cache));
  tell("{}", fit_table(fit.rows, fit.chosen));
  if (!fit.chosen) return fail(ErrorCode::kInfeasible, fit.problem + "; nothing was fetched");
  tell("{}{}\n", forecast_line(*fit.plan, fit.files), fit.cached ? " in the cache" : " to fetch");
  if (fit.files.name.quantisation)
    tell("the next time, -hf {}:{} takes it without a comparison\n", fit.files.name.repository,
         *fit.files.name.quantisation);
  if (fit.cached) return fit.cached->string();
  BRIMFUL_TRY(const std::filesystem::path file, download_and_show(settings, cache, fit.files));
  return file.string();
}

Result<std::string> fetch(const RunOptions& options, const hub::HubModel& name, const hub::HubCache& cache) {
  BRIMFUL_TRY(const hub::Settings settings, settings_of(options.fetch));
  BRIMFUL_TRY(hub::Http http, hub::Http::open(settings));
  if (options.fetch.fit) return fetch_fit(options, settings, http, cache);
  BRIMFUL_TRY(const hub::HubFiles model, hub::find_files(http, name));
  {
    BRIMFUL_TRY(const hub::TemporaryFolder folder, hub::TemporaryFolder::make_in(cache.folder()));
    BRIMFUL_TRY(const std::filesystem::path header, hub::fetch_headers_of(http, model, folder.path()));
    BRIMFUL_TRY_VOID(tell_forecast(options, header, model));
  }
  BRIMFUL_TRY(const std::filesystem::path file, download_and_show(settings, cache, model));
  return file.string();
}

/// What is wrong where a model is named twice: by people who forget a colon or a flag.
Error named_twice(const RunOptions& options) {
  std::string out =
      fmt::format("-hf {} and {} name two models", options.hub, model::in_quotes(options.model));
  const bool file = options.model.ends_with(".gguf") || options.model.contains('/');
  const bool text = options.model.contains(' ');
  if (!file && !text) out += fmt::format(": for a quantization write -hf {}:{}", options.hub, options.model);
  if (text) out += ": a prompt is given with -p";
  return {ErrorCode::kInvalidArgument, out + (file ? ": name one, with -m or with -hf, not both" : "")};
}

}  // namespace

void add_fit_flag(CLI::App& command, HubFlags& flags) {
  command.add_option(
      "--fit", flags.fit,
      "with -hf: choose the quantization of the best quality that lies in these budgets, such as "
      "vram=11.5GiB,ram=48GiB; with tps=3, also one that reads from the disk, if it gives 3 "
      "tokens/s");
}

void add_hub_flag(CLI::App& command, RunOptions& options) {
  command
      .add_option("--hf,--hf-repo", options.hub,
                  "model on the Hugging Face Hub: ORGANISATION/REPOSITORY[:QUANTISATION]; downloaded when "
                  "the cache lacks it")
      ->type_name("ORG/REPO[:QUANT]");  // Also in the message where it is missing.
  add_fit_flag(command, options.fetch);
  add_limit_flag(command, options.fetch);
  command.add_flag("--offline", options.fetch.offline, "use only models that are in the cache");
}

void add_limit_flag(CLI::App& command, HubFlags& flags) {
  command.add_option("--limit-rate", flags.limit_rate, "most bytes per second of a download, such as 5MiB");
}

Result<hub::Settings> settings_of(const HubFlags& flags) {
  BRIMFUL_TRY(hub::Settings settings, hub::settings_from_environment());
  settings.offline = settings.offline || flags.offline;
  if (!flags.limit_rate) return settings;
  const auto rate = parse_bytes(*flags.limit_rate);
  if (!rate || *rate < kLeastRate) {
    return fail(
        ErrorCode::kInvalidArgument,
        fmt::format("--limit-rate {}: give bytes per second, at least 64KiB, as in 5MiB", *flags.limit_rate));
  }
  settings.limit_rate = rate->value;
  return settings;
}

Status choose_model(RunOptions& options) {
  if (!options.hub.empty() && !options.model.empty()) return std::unexpected(named_twice(options));
  if (options.fetch.fit) BRIMFUL_TRY_VOID(apply_fit(options));
  const hub::HubCache cache = hub::HubCache::of_environment();
  if (options.draft_model) {
    BRIMFUL_TRY(const std::filesystem::path draft, hub::path_of(*options.draft_model, cache));
    options.draft_model = draft.string();
  }
  if (options.hub.empty()) {
    BRIMFUL_TRY(const std::filesystem::path path, hub::path_of(options.model, cache));
    options.model = path.string();
    return {};
  }
  BRIMFUL_TRY(const hub::HubModel name, hub::parse_hub_model(options.hub));
  BRIMFUL_TRY(const hub::Settings settings, settings_of(options.fetch));
  std::optional<hub::CachedModel> cached;
  if (!options.fetch.fit) {
    BRIMFUL_TRY(cached, hub::without_the_hub(cache, name, settings.offline));
  }
  if (cached) {
    options.model = cached->file.string();
  } else {
    auto fetched = in_own_process([&] { return fetch(options, name, cache); });
    // Where the hub cannot say which file the name means, the one in the cache is the best guess.
    const bool unreachable = !fetched && fetched.error().code == ErrorCode::kIo && !name.quantisation;
    const auto known = cache.find(name);
    if (unreachable && !options.fetch.fit && known) {
      tell_note(fmt::format("{}; using {} of the cache", fetched.error().message, known->name()));
      fetched = known->file.string();
    }
    BRIMFUL_TRY(options.model, std::move(fetched));
  }
  options.hub.clear();
  return {};
}

}  // namespace brimful::cli
