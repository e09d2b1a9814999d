#include "engine/budget_switch.h"

#include <string>
#include <utility>

namespace brimful::engine {

Status BudgetSwitch::change(Prepared& prepared, const BudgetChange& wanted) {
  BRIMFUL_TRY_VOID(gpus_.check(wanted.vram));
  Budgets budgets{wanted, ram_.note()};
  if (wanted.ram) {
    BRIMFUL_TRY(hardware::HostBudget ram, ram_.decide(wanted.ram));
    budgets = {{ram.bytes, wanted.vram}, std::move(ram.note)};
  }
  Status changed = carry_out(prepared, budgets);
  ram_.settle(ram_.memory_map(model_.profile(), model_.host().placement()).peak());
  return changed;
}

Status BudgetSwitch::carry_out(Prepared& prepared, const Budgets& wanted) {
  const Budgets before{{ram_.bytes(), gpus_.budgets()}, ram_.note()};
  can_go_on_ = false;
  tier::HostDevice& host = model_.host();
  plan::Placement placement = host.placement();
  BRIMFUL_TRY_VOID(starter_.displace_weights());
  std::optional<SavedSequence> sequence;
  if (llama_memory_seq_pos_max(llama_get_memory(context_.get()), 0) >= 0) {
    auto saved = SavedSequence::save(context_.get());
    if (!saved) {
      BRIMFUL_TRY_VOID(host.place(std::move(placement), {}));
      BRIMFUL_TRY_VOID(gpus_.connect());
      can_go_on_ = true;
      return std::unexpected(std::move(saved).error());
    }
    sequence.emplace(std::move(*saved));
  }
  placement = {};
  BRIMFUL_TRY_VOID(starter_.give_back());

  const hardware::BudgetPeak ended = ram_.begin_peak(wanted.bytes.ram.value_or(*before.bytes.ram));
  Status changed = start_inside(prepared, wanted, sequence);
  if (!changed) {
    BRIMFUL_TRY_VOID(starter_.displace_weights());
    BRIMFUL_TRY_VOID(starter_.give_back());
    ram_.begin_peak(*before.bytes.ram, ended.peak);
    BRIMFUL_TRY_VOID(start_inside(prepared, before, sequence));
  } else {
    ram_.keep_peak(ended);
  }
  can_go_on_ = true;
  return changed;
}

Status BudgetSwitch::start_inside(Prepared& prepared, const Budgets& budgets,
                                  const std::optional<SavedSequence>& sequence) {
  if (budgets.bytes.ram) BRIMFUL_TRY_VOID(ram_.resize(*budgets.bytes.ram));
  ram_.set_note(budgets.note);  // It becomes one of the notes of what is prepared.
  BRIMFUL_TRY_VOID(gpus_.resize(budgets.bytes.vram));
  BRIMFUL_TRY(prepared, preparer_.prepare(prepared.options));
  return restart(prepared, sequence);
}

/// Starts what was prepared, and restores the saved text.
Status BudgetSwitch::restart(Prepared& prepared, const std::optional<SavedSequence>& sequence) {
  if (!gpus_.drivers_are_measured()) {
    BRIMFUL_TRY_VOID(restore(sequence));
    return starter_.place(prepared, {});
  }
  BRIMFUL_TRY_VOID(starter_.place(prepared, {}));
  BRIMFUL_TRY_VOID(starter_.fit_drivers(prepared, {}));  // it needs an empty context
  if (!sequence) return {};
  plan::Placement placement = model_.host().placement();
  BRIMFUL_TRY_VOID(starter_.displace_weights());
  BRIMFUL_TRY_VOID(restore(sequence));
  BRIMFUL_TRY_VOID(model_.host().place(std::move(placement), {}));
  return gpus_.connect();
}

/// Restores the saved text into the context. It runs before the weights are placed, because libllama needs
/// memory to read the text.
Status BudgetSwitch::restore(const std::optional<SavedSequence>& sequence) {
  if (!sequence) return {};
  BRIMFUL_TRY_VOID(model_.host().host_buffers().commit(ram_.pool()));
  return sequence->restore(context_.get());
}

}  // namespace brimful::engine
