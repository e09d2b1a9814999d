// The part of Engine that changes the budgets of a running model. See docs/design-budgets.md.

#include <fmt/format.h>

#include <algorithm>

#include "engine/engine.h"

namespace brimful::engine {

BudgetChange Engine::budgets() const { return {ram_->bytes(), gpus_->budgets()}; }

Status Engine::resize_pools(const BudgetChange& change) {
  if (change.ram) BRIMFUL_TRY_VOID(ram_->resize(*change.ram));
  return gpus_->resize(change.vram);
}

/// Restores the saved text into the context. It runs before the weights are placed, because libllama needs
/// memory to read the text.
Status Engine::restore(const std::optional<SavedSequence>& sequence) {
  if (!sequence) return {};
  BRIMFUL_TRY_VOID(device_->host_buffers().commit(ram_->pool()));
  return sequence->restore(context_.get());
}

/// Starts what prepare() has planned, and restores the saved text.
Status Engine::restart(const std::optional<SavedSequence>& sequence) {
  if (!gpus_->drivers_are_measured()) {
    BRIMFUL_TRY_VOID(restore(sequence));
    return begin({});
  }
  BRIMFUL_TRY_VOID(begin({}));
  BRIMFUL_TRY_VOID(fit_drivers({}));  // it needs an empty context
  if (!sequence) return {};
  plan::Placement placement = device_->placement();
  BRIMFUL_TRY_VOID(displace_weights());
  BRIMFUL_TRY_VOID(restore(sequence));
  BRIMFUL_TRY_VOID(device_->place(std::move(placement), {}));
  return gpus_->connect();
}

Status Engine::start_inside(const BudgetChange& budgets, const std::optional<SavedSequence>& sequence) {
  BRIMFUL_TRY_VOID(resize_pools(budgets));
  BRIMFUL_TRY_VOID(prepare(ContextOptions(prepared_)));
  return restart(sequence);
}

/// Gives back everything except the vocabulary. The sequence in the context is lost.
Status Engine::give_back() {
  if (draft_model_) BRIMFUL_TRY_VOID(draft_model_->displace());
  free_context();
  gpus_->displace();
  device_->host_buffers().forget_pool();
  runtime_ = {};
  notes_.clear();
  return {};
}

Status Engine::change_budgets(const BudgetChange& wanted) {
  BRIMFUL_TRY_VOID(gpus_->check(wanted.vram));
  BudgetChange change = wanted;
  std::optional<std::string> note = ram_->note();
  if (change.ram) {
    BRIMFUL_TRY(hardware::HostBudget budget, ram_->decide(change.ram));
    change.ram = budget.bytes;
    note = std::move(budget.note);
  }
  note = ram_->exchange_note(std::move(note));
  Status changed = carry_out(change);
  if (!changed) ram_->exchange_note(std::move(note));
  ram_->settle(memory_map().peak());
  return changed;
}

Status Engine::carry_out(const BudgetChange& change) {
  const BudgetChange before = budgets();
  can_go_on_ = false;
  plan::Placement placement = device_->placement();
  BRIMFUL_TRY_VOID(displace_weights());
  std::optional<SavedSequence> sequence;
  if (llama_memory_seq_pos_max(llama_get_memory(context_.get()), 0) >= 0) {
    auto saved = SavedSequence::save(context_.get());
    if (!saved) {
      BRIMFUL_TRY_VOID(device_->place(std::move(placement), {}));
      BRIMFUL_TRY_VOID(gpus_->connect());
      can_go_on_ = true;
      return std::unexpected(std::move(saved).error());
    }
    sequence.emplace(std::move(*saved));
  }
  placement = {};
  BRIMFUL_TRY_VOID(give_back());

  const hardware::BudgetPeak ended = ram_->begin_peak(change.ram.value_or(*before.ram));
  Status changed = start_inside(change, sequence);
  if (!changed) {
    BRIMFUL_TRY_VOID(displace_weights());
    BRIMFUL_TRY_VOID(give_back());
    ram_->begin_peak(*before.ram, ended.peak);
    BRIMFUL_TRY_VOID(start_inside(before, sequence));
  } else {
    ram_->keep_peak(ended);
  }
  can_go_on_ = true;
  return changed;
}

}  // namespace brimful::engine
