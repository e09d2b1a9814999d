#include "session/planner.h"

#include <algorithm>
#include <chrono>
#include <iterator>
#include <utility>

#include "engine/context_sizer.h"
#include "engine/drafts/draft_shapes.h"
#include "engine/sampler.h"
#include "hardware/diagnostics.h"
#include "plan/host_layout.h"
#include "plan/placement_rules.h"
#include "plan/transfer_policy.h"
#include "session/client_reserve.h"
#include "session/conversation.h"
#include "session/plan_devices.h"
#include "session/plan_variants.h"

namespace brimful::session {
namespace {

constexpr std::uint64_t kShareOfAccounts = 4096;

/// Memory for the results for which a run with devices has room, and the planned context has none.
Bytes missing_results(const engine::Engine& engine, const engine::ContextOptions& context) {
  const std::uint32_t planned = std::max(context.sequences, 1 + engine.plan().draft);
  const std::uint32_t wanted = std::min(engine::kResultsOfDraft, engine.plan().ubatch);
  if (planned >= wanted || engine.only_embeds() || !context.shared_cells) return {};
  // As default_draft() counts them: they are held in the graph and in libllama's list of results.
  const auto vocabulary = static_cast<std::uint64_t>(llama_vocab_n_tokens(engine.vocab()));
  return Bytes{2 * sizeof(float) * vocabulary * (wanted - planned)};
}

}  // namespace

Planner::Planner(PlanRequest request, std::vector<plan::DeviceBudget> devices, plan::PlacementFilter filter)
    : request_(std::move(request)), devices_(std::move(devices)), filter_(std::move(filter)) {}

Result<Planner> Planner::open(PlanRequest request) {
  const hardware::Profile& machine = request.machine;
  BRIMFUL_TRY(PlanDevices devices, plan_devices(request.vram, machine, request.elsewhere, request.names));
  std::vector<std::string> names;
  names.reserve(devices.budgets.size());
  for (const plan::DeviceBudget& device : devices.budgets) names.push_back(device.name);
  const Placement& placement = request.placement;
  BRIMFUL_TRY(plan::PlacementFilter filter,
              plan::placement_rules(placement.gpu_layers, placement.cpu_expert_layers, placement.rules, names,
                                    request.names.placement_rules));
  engine::OpenOptions& open = request.open;
  open.weights = model::Weights::kMayBeMissing;
  open.claims_memory = false;
  // The planned context has no devices, so it cannot tell whether unasked heads would find room.
  const bool unasked = open.heads == engine::Heads::kWherePossible && !devices.budgets.empty();
  if (request.profile.weights_missing || unasked) open.heads = engine::Heads::kNone;
  open.names = request.names;
  if (request.elsewhere) {
    open.machine = hardware::HostMemory{machine.ram.total, machine.ram.available, {}};
    if (!request.threads_given) open.threads = open.threads_batch = machine.compute.threads;
  }
  if (!devices.budgets.empty()) {
    if (const auto link = devices.budgets.front().gpu.host_to_device_bytes_per_s) {
      open.host_layout = [compute = machine.compute, link](const model::ModelProfile& model) {
        return plan::host_layout(model, compute, *link);
      };
    }
  }
  Planner out(std::move(request), std::move(devices.budgets), std::move(filter));
  for (std::string& note : devices.notes) out.note(std::move(note));
  const auto begin = std::chrono::steady_clock::now();
  BRIMFUL_TRY(out.engine_, engine::Engine::open(out.request_.open));
  out.open_seconds_ = std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
  return out;
}

Result<PlanReport> Planner::plan(const engine::ContextOptions& context, const plan::Workload& workload) {
  PlanReport report{.notes = notes_, .threads = request_.open.threads, .elsewhere = request_.elsewhere};
  std::ranges::copy(engine_->notes(), std::back_inserter(report.notes));
  std::vector<plan::DeviceBudget> devices = devices_;
  if (!devices.empty()) {
    const plan::TransferPolicy transfer_policy =
        plan::measured_transfer_policy(request_.profile, request_.machine, devices.front().gpu);
    plan::add_rings(devices, request_.profile, transfer_policy, engine_->plan().ubatch);
  }
  BRIMFUL_TRY(const Bytes most, engine_->most_budget());
  plan::Inputs& inputs = report.inputs;
  inputs = plan::Inputs{.profile = request_.profile,
                        .run = engine_->plan(),
                        .machine = request_.machine,
                        .host_budget = engine_->plan().budget,
                        .most_host_budget = most,
                        .devices = std::move(devices),
                        .placement_filter = filter_,
                        .names = request_.names,
                        .workload = workload,
                        .open_seconds = open_seconds_};
  // Another process will execute the plan, and the kernel's account of it may be a little larger than its
  // own.
  inputs.run.demand.growth += engine::run_to_run() + Bytes{inputs.host_budget.value / kShareOfAccounts};
  if (!inputs.devices.empty()) inputs.run.demand.growth += missing_results(*engine_, context);
  BRIMFUL_TRY(report.plan, plan::make_plan(inputs));
  if (!request_.advice) return report;
  // The plan itself says what is read.
  report.diagnostics = hardware::diagnostics(inputs.machine, std::nullopt);
  std::vector<plan::Variant> variants = plan::standard_variants(inputs);
  std::ranges::move(model_variants(*engine_, context, inputs), std::back_inserter(variants));
  report.changes = plan::rank(report.plan, variants);
  return report;
}

Result<PlanReport> plan_run(PlanRequest request, RunToPlan run) {
  const plan::OptionNames names = request.names;
  BRIMFUL_TRY(Planner planner, Planner::open(std::move(request)));
  engine::Engine& engine = planner.engine();
  BRIMFUL_TRY_VOID(engine::try_grammar(engine, run.sampling));
  engine::ContextOptions& context = run.context;
  const model::ModelProfile& profile = engine.profile();
  PlannedPrompt prompt = shape_for_plan(context, run.requests, profile.train_context, names.prompt_tokens);
  if (!prompt.note.empty()) planner.note(std::move(prompt.note));
  if (profile.weights_missing) {  // Real rows of weights are needed to find out which drafts keep the bits.
    context.drafts = {};
    planner.note("planned from the header alone, so without speculative decoding");
  }
  context.client_reserve =
      client_reserve(engine, run.sampling, run.with_template && !profile.chat_template.empty());
  if (context.sequences <= 1) shape_for_conversation(context);
  BRIMFUL_TRY_VOID(engine.prepare(context));
  return planner.plan(context, workload_of(context.sequences, prompt.tokens));
}

}  // namespace brimful::session
