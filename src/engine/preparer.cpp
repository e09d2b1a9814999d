#include "engine/preparer.h"

#include <fmt/format.h>
#include <malloc.h>

#include <algorithm>
#include <iterator>

#include "memory/program_pages.h"
#include "model/heads.h"

namespace brimful::engine {
namespace {

// The largest number of tries for a split. The compute buffers are known only after a context was made with
// that split.
constexpr int kAttempts = 8;

/// The work of a step of one token, as the newest context's graphs show it; none where devices compute all of
/// it.
plan::GraphWork decode_work(const tier::HostDevice& host) {
  const std::vector<plan::GraphWork>& work = host.recorded_work();
  return work.empty() ? plan::GraphWork{} : *std::ranges::min_element(work, {}, &plan::GraphWork::tokens);
}

}  // namespace

Result<Prepared> Preparer::prepare(const ContextOptions& wanted) {
  BRIMFUL_TRY_VOID(ram_.decide_first());
  const ContextOptions& options = wanted;
  Prepared out{.options = wanted, .drafts = options.drafts, .plan = {}, .notes = model_.options().notes};
  if (ram_.note()) out.notes.push_back(*ram_.note());
  if (auto note = model_.note_on_vocabulary()) out.notes.push_back(std::move(*note));

  const plan::OptionNames& names = model_.options().names;
  const ContextSizer sizer(model_.sized(), ram_.bytes(), names);
  const std::vector<ContextShape> shapes = sizer.shapes_to_try(options);
  BRIMFUL_TRY_VOID(sizer.check_prompt(options, shapes.front()));
  for (const ContextShape& shape : shapes) {
    BRIMFUL_TRY(std::optional<plan::HostPlan> plan,
                try_shape(sizer, options, shape, &shape == &shapes.back()));
    if (!plan) continue;
    std::ranges::move(notes_on_shape(shapes.front(), shape, names), std::back_inserter(out.notes));
    std::ranges::move(gpus_.notes_on_shares(), std::back_inserter(out.notes));
    std::ranges::copy(model_.notes_on_layout(), std::back_inserter(out.notes));
    if (const auto& note = model_.note_on_heat()) out.notes.push_back(*note);
    if (shape.draft > 0 && context_.longest_draft() == 0) {
      out.notes.emplace_back(
          "speculative decoding is off: already passes of two tokens are computed in another way than one "
          "token");
    }
    out.plan = std::move(*plan);
    out.options.context = out.plan.context;
    out.options.ubatch = out.plan.ubatch;
    return out;
  }
  return fail(ErrorCode::kInternal, "no context shape to try");
}

/// Makes a context of this shape, and plans it. Returns nothing when the next shape is to be tried. `last`:
/// there is no next shape.
Result<std::optional<plan::HostPlan>> Preparer::try_shape(const ContextSizer& sizer,
                                                          const ContextOptions& options, ContextShape shape,
                                                          bool last) {
  BRIMFUL_TRY(const Bytes room, ram_.room());
  if (Status fits = sizer.check_list(shape, room); !fits) {
    if (last) return std::unexpected(std::move(fits).error());
    return std::nullopt;
  }
  if (gpus_.model() != nullptr) BRIMFUL_TRY_VOID(load_on_gpus({}));
  const bool can_do_less = shape.can_go_without_draft || shape.can_go_without_heads;
  // What lies on GPUs is decided without the heads: it is a part of the bits of every token.
  ContextShape first = shape;
  first.heads = shape.heads && gpus_.empty();
  const Status made = context_.make(options, first);
  if (!made && made.error().code == ErrorCode::kUnsupported && can_do_less) return std::nullopt;
  BRIMFUL_TRY_VOID(made);
  BRIMFUL_TRY(plan::HostDemand demand, this->demand(sizer, options));
  if (!gpus_.empty()) {
    const Status filled = fill_gpus(options, shape, demand);
    if (!filled && filled.error().code == ErrorCode::kUnsupported && can_do_less) return std::nullopt;
    BRIMFUL_TRY_VOID(filled);
    BRIMFUL_TRY(demand, this->demand(sizer, options));
  }
  const Bytes budget = ram_.bytes();
  if (demand.least() > budget) {
    if (last) return std::unexpected(sizer.infeasible(demand, options, shape, ram_.note()));
    return std::nullopt;
  }
  if (!last && sizer.ubatch_is_dear(options, shape, demand)) return std::nullopt;

  const Bytes for_weights = demand.for_weights(budget);
  if (options.for_weights && *options.for_weights > for_weights) {
    if (shape.can_go_without_heads) return std::nullopt;
    return fail(ErrorCode::kInfeasible,
                fmt::format("the plan needs {} for weights, and {} {} now leaves only {}: plan again",
                            format_bytes(*options.for_weights), model_.options().names.ram,
                            format_bytes(budget), format_bytes(for_weights)));
  }
  BRIMFUL_TRY(plan::Placement placement,
              plan::place(model_.profile(), demand.uses, options.for_weights.value_or(for_weights),
                          demand.bookkeeping));
  if (shape.can_go_without_heads &&
      (context_.longest_draft() == 0 ||
       !sizer.heads_pay(placement, model::bytes_of_heads(model_.profile()), !gpus_.empty())))
    return std::nullopt;
  const tier::HostDevice& host = model_.host();
  if (shape.can_go_without_draft && sizer.drafts_are_dear(host.needs(), placement.units.size()))
    return std::nullopt;
  std::vector<plan::GraphWork> work = host.recorded_work();
  if (work.empty()) work = {{.tokens = 1}, {.tokens = shape.ubatch}};  // devices compute all of it
  return plan::HostPlan{.budget = budget,
                        .context = llama_n_ctx(context_.get()),
                        .ubatch = shape.ubatch,
                        .draft = context_.longest_draft(),
                        .demand = std::move(demand),
                        .placement = std::move(placement),
                        .decode = *std::ranges::min_element(work, {}, &plan::GraphWork::tokens),
                        .prompt = *std::ranges::max_element(work, {}, &plan::GraphWork::tokens)};
}

/// Measures what the process holds, and what the newest context will need.
Result<plan::HostDemand> Preparer::demand(const ContextSizer& sizer, const ContextOptions& options) const {
  plan::HostDemand out;
  tier::HostDevice& device = model_.host();
  device.host_buffers().discard();
  if (DraftModel* const draft = model_.draft_model()) {
    BRIMFUL_TRY(out.draft_model, draft->bytes_to_place());
  }
  ::malloc_trim(0);
  memory::populate_program_pages();
  BRIMFUL_TRY(const hardware::ProcessMemory process, hardware::read_process_memory());
  BRIMFUL_TRY(const hardware::HostMemory machine, ram_.machine());
  tier::Needs needs = device.needs();
  const Bytes budget = ram_.bytes();
  const Bytes room = hardware::room(budget, machine, process);
  out.held = room.value > 0 ? budget - room : std::max(budget, hardware::held_bytes(process));
  out.adapters = device.host_buffers().kept_bytes();
  out.held = saturating_sub(out.held, out.adapters);
  out.kv_cache = device.host_buffers().kv_bytes();
  out.kv_of_layers = decode_work(device).state_of_layers;
  out.compute = device.host_buffers().compute_bytes() + needs.work + needs.staging;
  out.bookkeeping = device.bookkeeping();
  out.least_for_weights = plan::smallest_budget(model_.profile(), needs.uses, out.bookkeeping);
  out.growth = sizer.growth(needs, out.kv_cache + out.compute, options.client_reserve) + gpus_.host_bytes();
  if (const ModelHeads* const heads = model_.heads()) out.growth += heads->runtime_bytes();
  out.uses = std::move(needs.uses);
  return out;
}

Status Preparer::load_on_gpus(const plan::DeviceSplit& split) {
  context_.free();
  return gpus_.load(split);
}

/// Finds the split that fills the GPUs, and makes the context with it. `whole`: the demand when the host
/// holds everything.
Status Preparer::fill_gpus(const ContextOptions& options, ContextShape shape, const plan::HostDemand& whole) {
  const Bytes pinned = std::min(whole.for_weights(ram_.bytes()), model_.profile().weight_bytes());
  std::vector<plan::DeviceBudget> budgets = gpus_.budgets_for(shape, whole.compute, pinned);
  // Steps of several sequences cost other times, and keep the cells beside the weights.
  const plan::GraphWork decode = options.sequences > 1 ? plan::GraphWork{} : decode_work(model_.host());
  bool measured = false;
  for (int attempt = 0; attempt < kAttempts; ++attempt) {
    if (attempt + 1 == kAttempts) {  // the devices get nothing, which is better than an error
      for (plan::DeviceBudget& budget : budgets) budget.compute = budget.budget;
    }
    BRIMFUL_TRY_VOID(load_on_gpus(gpus_.split(whole, budgets, shape, decode)));
    const Status made = context_.make(options, shape);
    if (!made && made.error().code == ErrorCode::kBudgetExceeded && attempt + 1 < kAttempts) {
      // The buffers alone passed a budget: the next try has fewer layers, and a smaller part of the KV cache,
      // on the devices.
      for (plan::DeviceBudget& budget : budgets)
        budget.compute = *budget.compute + Bytes{budget.budget.value / 8};
      continue;
    }
    BRIMFUL_TRY_VOID(made);
    BRIMFUL_TRY(const bool fits, gpus_.settle(context_.get(), budgets));
    // The first guess is cautious. With the measured buffers, more may fit.
    if (fits && (measured || gpus_.model() == nullptr)) return {};
    measured = true;
  }
  return fail(ErrorCode::kInfeasible,
              fmt::format("{}: no split of its layers keeps to the devices' budgets; give the devices more "
                          "memory, or less",
                          model_.options().model.string()));
}

}  // namespace brimful::engine
