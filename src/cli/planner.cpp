#include "cli/planner.h"

#include <fmt/format.h>

#include <charconv>
#include <filesystem>
#include <string_view>

#include "cli/flag_names.h"
#include "cli/probe_text.h"
#include "hardware/presets.h"
#include "hub/model_source.h"
#include "model/header_fingerprint.h"
#include "model/model_profile.h"
#include "probe/probe.h"

namespace brimful::cli {
namespace {

constexpr std::uint32_t kDefaultBatch = 8;
// A machine whose rates stand in for those of this one where nobody sees them.
constexpr std::string_view kAssumedMachine = "64gb-ddr4-3600, nvme-gen3";

/// The number of requests that --for means.
Result<std::uint32_t> requests_of(const std::string& purpose) {
  if (purpose == "chat") return 1;
  if (purpose == "batch") return kDefaultBatch;
  std::uint32_t count = 0;
  if (purpose.starts_with("batch:")) {
    const char* const end = purpose.data() + purpose.size();
    const auto [stop, error] = std::from_chars(purpose.data() + 6, end, count);
    if (error == std::errc{} && stop == end && count >= 1 && count <= 256) return count;
  }
  return fail(ErrorCode::kInvalidArgument,
              fmt::format("--for {}: is not one of chat, batch, batch:N with N from 1 to 256", purpose));
}

Result<hardware::Profile> machine_of(const PlanOptions& options, const model::ModelProfile& model,
                                     int threads) {
  if (options.like && options.hardware)
    return fail(ErrorCode::kInvalidArgument, "name the machine with --like or with --hardware, not both");
  if (options.like) return hardware::machine_like(*options.like);
  if (options.hardware) return hardware::read_hardware_file(*options.hardware);
  if (!options.measure) {
    if (auto known = probe::known({.threads = threads, .model = &model})) return std::move(*known);
    // Whether it fits does not depend on rates, but on GPUs it depends on which they are.
    if (!options.vram) return hardware::machine_like(kAssumedMachine);
    return fail(ErrorCode::kNotFound, "this machine was not measured yet: 'brimful probe' does it");
  }
  // Without a budget of VRAM, no GPU is touched.
  return measure_machine(&model, threads, options.refresh,
                         options.vram ? session::Links::kMeasure : session::Links::kLeaveOut);
}

}  // namespace

Result<PlanReport> make_report(const PlanOptions& options) {
  PlanReport report;
  report.model = options.hub.empty() ? options.run.model : options.hub;
  BRIMFUL_TRY(const std::uint32_t requests, requests_of(options.purpose));
  RunOptions run = options.run;
  // These flags are about the plan's devices, and not about those of this machine.
  run.gpu_layers = run.cpu_moe_layers = std::nullopt;
  run.overrides.clear();
  session::PlanRequest request{
      .elsewhere = options.like || options.hardware,
      .threads_given = options.run.threads.has_value(),
      .placement = {options.run.gpu_layers, options.run.cpu_moe_layers, options.run.overrides},
      .names = flag_names(),
      .advice = options.advice};
  BRIMFUL_TRY(request.open, open_options(run));
  if (requests > 1 && !asks_for_drafts(run)) request.open.heads = engine::Heads::kNone;
  session::RunToPlan planned{.requests = {requests, options.prompt_tokens},
                             .with_template = !options.run.raw};
  BRIMFUL_TRY(planned.context, context_options(options.run));
  BRIMFUL_TRY(planned.sampling, sampling_params(options.run));
  BRIMFUL_TRY(const hub::LocalModel local, hub::locate({options.run.model, options.hub}));
  request.open.model = local.path;
  BRIMFUL_TRY(request.profile, model::read_model(local.path, model::Weights::kMayBeMissing));
  BRIMFUL_TRY(report.model_header, model::header_fingerprint(request.profile.files));
  if (!local.header_only()) report.model_file = std::filesystem::absolute(local.path).string();
  BRIMFUL_TRY(request.machine, machine_of(options, request.profile, request.open.threads));
  if (options.vram) {
    BRIMFUL_TRY(request.vram, session::parse_vram(*options.vram, flag_names().vram));
  }
  BRIMFUL_TRY(static_cast<session::PlanReport&>(report),
              session::plan_run(std::move(request), std::move(planned)));
  return report;
}

}  // namespace brimful::cli
