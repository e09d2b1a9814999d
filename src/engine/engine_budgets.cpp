// Engine: other budgets for a model that runs. See docs/design-budgets.md.

#include <fmt/format.h>

#include <algorithm>

#include "engine/engine.h"

namespace strata::engine {

BudgetChange Engine::budgets() const {
  BudgetChange out{pool_.capacity(), {}};
  for (const Offload& offload : offloads_) out.vram.emplace_back(offload.name(), offload.pool->capacity());
  return out;
}

Status Engine::resize_pools(const BudgetChange& change) {
  if (change.ram) STRATA_TRY_VOID(pool_.resize(*change.ram));
  for (const auto& [name, budget] : change.vram) {
    const auto offload = std::ranges::find(offloads_, name, &Offload::name);
    STRATA_TRY_VOID(offload->pool->resize(budget));
  }
  return {};
}

/// What can be known to be too much, or too little, before anything is given back.
Status Engine::check_devices(const BudgetChange& change) const {
  for (const auto& [name, budget] : change.vram) {
    const auto offload = std::ranges::find(offloads_, name, &Offload::name);
    if (offload == offloads_.end()) {
      std::string used;
      for (const Offload& one : offloads_) used += fmt::format(" {}", one.name());
      return fail(ErrorCode::kInvalidArgument,
                  used.empty() ? fmt::format("{}: no GPU is used: start with --vram", name)
                               : fmt::format("{}: not one of the GPUs in use:{}", name, used));
    }
    std::size_t free = 0;
    std::size_t total = 0;
    ggml_backend_dev_memory(offload->device->inner(), &free, &total);
    const Bytes there = std::min(Bytes{total}, Bytes{free} + offload->share.peak());
    if (budget > there) {
      return fail(ErrorCode::kInfeasible,
                  fmt::format("{} has {}, and other programs leave {} of them: a budget of {} is more", name,
                              format_bytes(Bytes{total}), format_bytes(there), format_bytes(budget)));
    }
    if (offload->driver && budget <= offload->driver->bytes) {
      return fail(ErrorCode::kInfeasible,
                  fmt::format("{}: its driver alone holds {} for this process: a budget of {} is less", name,
                              format_bytes(offload->driver->bytes), format_bytes(budget)));
    }
  }
  return {};
}

/// Before the weights are there: libllama needs memory to read the text.
Status Engine::restore(const std::optional<SavedSequence>& sequence) {
  if (!sequence) return {};
  STRATA_TRY_VOID(device_->host_buffers().commit(pool_));
  return sequence->restore(context_.get());
}

/// Starts what prepare() has planned, and goes on with the text.
Status Engine::restart(const std::optional<SavedSequence>& sequence) {
  const bool some_tell =
      std::ranges::any_of(offloads_, [](const Offload& offload) { return offload.driver.has_value(); });
  if (!some_tell) {
    STRATA_TRY_VOID(restore(sequence));
    return begin({});
  }
  STRATA_TRY_VOID(begin({}));
  STRATA_TRY_VOID(fit_drivers({}));  // with no text in the context
  if (!sequence) return {};
  plan::Placement placement = device_->placement();
  STRATA_TRY_VOID(displace_weights());
  STRATA_TRY_VOID(restore(sequence));
  STRATA_TRY_VOID(device_->place(std::move(placement), {}));
  return connect_devices();
}

Status Engine::start_inside(const BudgetChange& budgets, const std::optional<SavedSequence>& sequence) {
  STRATA_TRY_VOID(resize_pools(budgets));
  STRATA_TRY_VOID(prepare(ContextOptions(prepared_)));
  return restart(sequence);
}

/// All but the vocabulary and the sequence, which is lost.
Status Engine::give_back() {
  if (draft_model_) STRATA_TRY_VOID(draft_model_->displace());
  free_context();
  model_on_devices_.reset();
  for (Offload& offload : offloads_) offload.device->displace();
  device_->host_buffers().forget_pool();
  runtime_ = {};
  notes_.clear();
  return {};
}

Status Engine::change_budgets(const BudgetChange& change) {
  STRATA_TRY_VOID(check_devices(change));
  const BudgetChange before = budgets();
  can_go_on_ = false;
  plan::Placement placement = device_->placement();
  STRATA_TRY_VOID(displace_weights());
  std::optional<SavedSequence> sequence;
  if (llama_memory_seq_pos_max(llama_get_memory(context_.get()), 0) >= 0) {
    auto saved = SavedSequence::save(context_.get());
    if (!saved) {
      STRATA_TRY_VOID(device_->place(std::move(placement), {}));
      STRATA_TRY_VOID(connect_devices());
      can_go_on_ = true;
      return std::unexpected(std::move(saved).error());
    }
    sequence.emplace(std::move(*saved));
  }
  placement = {};
  STRATA_TRY_VOID(give_back());

  Status changed = start_inside(change, sequence);
  if (!changed) {
    STRATA_TRY_VOID(displace_weights());
    STRATA_TRY_VOID(give_back());
    STRATA_TRY_VOID(start_inside(before, sequence));
  }
  can_go_on_ = true;
  return changed;
}

}  // namespace strata::engine
