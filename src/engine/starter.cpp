#include "engine/starter.h"

#include <fmt/format.h>

#include <algorithm>
#include <iterator>
#include <utility>

#include "engine/warm_up.h"

namespace brimful::engine {
namespace {

// The largest number of starts until the drivers' memory is what was planned.
constexpr int kAttempts = 8;

}  // namespace

Status Starter::start(Prepared& prepared, const Progress& progress) {
  BRIMFUL_TRY_VOID(place(prepared, progress));
  return model_.options().held_on_device ? fit_drivers(prepared, progress) : Status{};
}

Status Starter::place(Prepared& prepared, const Progress& progress) {
  plan::HostPlan plan = std::exchange(prepared.plan, {});  // from here on, the device owns its memory
  ram_.settle(plan.memory_map(model_.profile()).peak());
  BRIMFUL_TRY(runtime_, ram_.pool().reserve(plan.runtime(), memory::Tag::kRuntime));
  BRIMFUL_TRY_VOID(model_.adapters().apply_control_vector(context_.get()));
  if (DraftModel* const draft = model_.draft_model()) BRIMFUL_TRY_VOID(draft->place());
  const Bytes total = gpus_.weights_to_place() + plan.placement.resident + plan.placement.slot_bytes();
  BRIMFUL_TRY(const Bytes placed, gpus_.place(ram_.pool(), [&](Bytes done) {
    return !progress || progress(std::min(done, total), total);
  }));
  BRIMFUL_TRY_VOID(model_.host().place(std::move(plan.placement), [&](Bytes done, Bytes all) {
    return !progress || progress(placed + done, placed + all);
  }));
  BRIMFUL_TRY_VOID(gpus_.connect());
  std::ranges::move(gpus_.notes_on_copies(), std::back_inserter(prepared.notes));
  BRIMFUL_TRY(const bool drafts_are_exact, context_.check_drafts());
  if (!drafts_are_exact)
    prepared.notes.emplace_back(
        "speculative decoding is off: a GPU computes several tokens with other last bits than one token");
  return {};
}

Status Starter::fit_drivers(Prepared& prepared, const Progress& progress) {
  for (int attempt = 0; attempt < kAttempts; ++attempt) {
    if (gpus_.drivers_tell()) {
      BRIMFUL_TRY_VOID(gpus_.check_room());
      BRIMFUL_TRY_VOID(warm_up(context_, model_, gpus_));
    }
    BRIMFUL_TRY(const bool as_planned, gpus_.measure_drivers(prepared.notes));
    if (as_planned) {
      gpus_.keep_driver_figures();
      return {};
    }
    BRIMFUL_TRY_VOID(displace_weights());
    BRIMFUL_TRY_VOID(give_back());
    BRIMFUL_TRY(prepared, preparer_.prepare(prepared.options));
    BRIMFUL_TRY_VOID(place(prepared, progress));
  }
  return fail(
      ErrorCode::kBudgetExceeded,
      fmt::format("{}: the memory of a GPU's driver grows with every start; is another program using it?",
                  model_.options().model.string()));
}

Status Starter::displace_weights() {
  gpus_.disconnect();
  return model_.host().displace();
}

Status Starter::give_back() {
  if (DraftModel* const draft = model_.draft_model()) BRIMFUL_TRY_VOID(draft->displace());
  context_.free();
  gpus_.displace();
  model_.host().host_buffers().forget_pool();
  runtime_ = {};
  return {};
}

}  // namespace brimful::engine
