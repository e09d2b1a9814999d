#include "session/library_plan.h"

#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <utility>

#include "probe/probe.h"
#include "session/account.h"
#include "session/forecast.h"
#include "session/open_engine.h"
#include "session/planner.h"

namespace brimful::session {
namespace {

/// One call of library_plan().
struct Call {
  const std::filesystem::path& gguf;
  const model::ModelProfile& profile;
  const Budgets& budgets;
  const ContextOptions& context;
  const PlanOptions& options;
};

/// Returns what the forecast is made for, with a note where that is not what was asked for.
plan::Workload workload(const Call& call, std::uint32_t context, const Notes& notes) {
  const std::uint32_t sequences = call.context.sequences;
  std::uint32_t of_each = context / sequences;
  const std::uint64_t trained = call.profile.train_context;
  if (!call.context.tokens && trained > 0)  // as Session::start() limits a request
    of_each = static_cast<std::uint32_t>(std::min<std::uint64_t>(of_each, trained));
  const PlannedPrompt prompt =
      planned_prompt(call.options.prompt_tokens, of_each, plan::OptionNames{}.prompt_tokens);
  if (!prompt.note.empty()) notes(prompt.note);
  return workload_of(sequences, prompt.tokens);
}

/// The context for which an engine was prepared.
struct PreparedShape {
  std::uint32_t at_once = 1;
  engine::ContextOptions context;
};

/// A report for a session, and whether that writes text: there is no forecast for a model that only embeds.
struct SessionReport : PlanReport {
  bool writes_text = true;
  PreparedShape shape;
};

/// Says in `out` what `host` and `shape` are, and where the bytes of the host's weights will be.
void tell(const PreparedShape& shape, const plan::HostPlan& host, Plan& out) {
  out.context = host.context;
  out.ubatch = host.ubatch;
  out.sequences = shape.at_once;
  out.key_cache = ggml_type_name(shape.context.type_k);
  out.value_cache = ggml_type_name(shape.context.type_v);
  out.weights_budget = host.demand.for_weights(host.budget);
  out.weights = out.account.weights;
  out.streamed_per_pass = out.account.streamed_per_pass;
}

/// Plans with GPUs as a machine's profile describes them. `context` is that of the call, or the shape that
/// was chosen for it.
Result<SessionReport> report_of(const Call& call, const ContextOptions& context, const MachineFacts& machine,
                                std::vector<std::string>& notes) {
  ContextOptions on_host = context;
  on_host.placement = {};
  PlanRequest request{.profile = call.profile,
                      .machine = machine.profile,
                      .elsewhere = machine.elsewhere,
                      .threads_given = context.threads.has_value(),
                      .vram = vram_parts(call.budgets.vram),
                      .placement = context.placement};
  BRIMFUL_TRY(request.open,
              session_options(call.gguf, {.ram = call.budgets.ram}, on_host, notes_into(notes)));
  BRIMFUL_TRY(Planner planner, Planner::open(std::move(request)));
  engine::Engine& engine = planner.engine();
  SessionReport out;
  BRIMFUL_TRY(out.shape.at_once, prepare_session(engine, on_host, nullptr, "", notes_into(notes)));
  out.shape.context = engine.prepared();
  const plan::Workload work = workload(call, engine.plan().context, notes_into(notes));
  out.writes_text = !engine.only_embeds();
  BRIMFUL_TRY(static_cast<PlanReport&>(out), planner.plan(out.shape.context, work));
  return out;
}

/// Plans for a machine that is not here.
Result<Plan> plan_elsewhere(const Call& call, const MachineFacts& machine) {
  Plan out;
  BRIMFUL_TRY(const SessionReport report, report_of(call, call.context, machine, out.notes));
  out.account = planned_account_of(report.plan.host.memory_map(call.profile), report.plan.devices.devices);
  tell(report.shape, report.plan.host, out);
  for (const std::string& note : report.notes) out.notes.push_back(note);
  if (!report.writes_text) return out;
  out.forecast = shown_forecast(report.plan.forecast, report.inputs.workload);
  if (call.options.changes) out.changes = shown_changes(report.changes);
  return out;
}

/// Plans what Session::start() would do here. `shaped_by` and `machine` are null where no rates are given or
/// known. GPUs are left out of the forecast: an engine with GPUs records only the host's work.
Result<Plan> plan_here(const Call& call, const hardware::Profile* shaped_by,
                       const hardware::Profile* machine) {
  Plan out;
  const Notes notes = notes_into(out.notes);
  BRIMFUL_TRY(engine::OpenOptions open, session_options(call.gguf, call.budgets, call.context, notes));
  const auto begin = std::chrono::steady_clock::now();
  BRIMFUL_TRY(const auto engine, engine::Engine::open(std::move(open)));
  const std::chrono::duration<double> opened = std::chrono::steady_clock::now() - begin;
  PreparedShape shape;
  BRIMFUL_TRY(shape.at_once, prepare_session(*engine, call.context, shaped_by, kNoMachine, notes));
  shape.context = engine->prepared();
  const plan::HostPlan& host = engine->plan();
  std::vector<plan::DeviceShare> devices;
  for (const engine::DeviceUse& use : engine->devices()) devices.push_back(use.share);
  out.account = planned_account_of(host.memory_map(engine->profile()), devices);
  tell(shape, host, out);
  for (const std::string& note : engine->notes()) out.notes.push_back(note);
  if (machine == nullptr || engine->only_embeds()) return out;
  const plan::Workload work = workload(call, host.context, notes);
  out.forecast =
      shown_forecast(plan::forecast(engine->profile(), host, {}, *machine, work, opened.count()), work);
  return out;
}

}  // namespace

Result<Plan> library_plan(const std::filesystem::path& gguf, const model::ModelProfile& profile,
                          const Budgets& budgets, const ContextOptions& context, const MachineFacts* machine,
                          const PlanOptions& options) {
  if (options.prompt_tokens == 0U)
    return fail(ErrorCode::kInvalidArgument,
                "prompt_tokens: a prompt has at least 1 token: give at least 1, or leave it unset");
  const Call call{gguf, profile, budgets, context, options};
  if (machine != nullptr && machine->elsewhere) return plan_elsewhere(call, *machine);
  std::optional<hardware::Profile> here;
  if (machine != nullptr) {
    here = machine->profile;
  } else {
    // It asks in a forked process, so before the engine has threads.
    here = probe::known({.threads = computing_threads(context.threads), .model = &profile});
  }
  BRIMFUL_TRY(Plan out,
              plan_here(call, machine != nullptr ? &machine->profile : nullptr, here ? &*here : nullptr));
  const bool on_gpus = !budgets.vram.empty();
  if (!out.forecast || (!on_gpus && !options.changes)) return out;
  ContextOptions same = context;
  same.tokens = out.context;
  same.ubatch = out.ubatch;
  std::vector<std::string> said;  // by plan_here(), too
  const Result<SessionReport> report = report_of(call, same, {.profile = std::move(*here)}, said);
  if (!report && on_gpus) {  // GPUs that only ggml knows, and no profile
    out.forecast.reset();
    out.notes.push_back(fmt::format("no forecast: {}", report.error().message));
    return out;
  }
  if (!report) return std::unexpected(report.error());
  if (on_gpus) out.forecast = shown_forecast(report->plan.forecast, report->inputs.workload);
  if (options.changes) out.changes = shown_changes(report->changes);
  return out;
}

}  // namespace brimful::session
