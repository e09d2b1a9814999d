// Engine: other budgets for a model that runs. See docs/design-budgets.md.

#include <fmt/format.h>

#include <algorithm>

#include "engine/engine.h"

namespace strata::engine {

BudgetChange Engine::budgets() const {
  BudgetChange out{pool_.capacity(), {}};
  for (const Offload& offload : offloads_)
    out.vram.emplace_back(ggml_backend_dev_name(offload.device->inner()), offload.pool->capacity());
  return out;
}

Status Engine::resize_pools(const BudgetChange& change) {
  if (change.ram) STRATA_TRY_VOID(pool_.resize(*change.ram));
  for (const auto& [name, budget] : change.vram) {
    const auto offload = std::ranges::find_if(
        offloads_, [&](const Offload& one) { return name == ggml_backend_dev_name(one.device->inner()); });
    STRATA_TRY_VOID(offload->pool->resize(budget));
  }
  return {};
}

/// Starts what prepare() has planned, and goes on with the text.
Status Engine::restart(const std::optional<SavedSequence>& sequence) {
  if (sequence) {  // before the weights: libllama needs memory for that
    STRATA_TRY_VOID(device_->host_buffers().commit(pool_));
    STRATA_TRY_VOID(sequence->restore(context_.get()));
  }
  return begin({});
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
  const BudgetChange before = budgets();
  for (const auto& [name, budget] : change.vram) {
    if (std::ranges::find(before.vram, name, &std::pair<std::string, Bytes>::first) != before.vram.end())
      continue;
    std::string used;
    for (const auto& [other, size] : before.vram) used += " " + other;
    return fail(ErrorCode::kInvalidArgument,
                used.empty() ? fmt::format("{}: no GPU is used: start with --vram", name)
                             : fmt::format("{}: not one of the GPUs in use:{}", name, used));
  }
  can_go_on_ = false;
  plan::Placement placement = device_->placement();
  STRATA_TRY_VOID(device_->displace());
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

  Status changed = resize_pools(change);
  if (changed) changed = prepare(ContextOptions(prepared_));
  if (!changed) {
    STRATA_TRY_VOID(resize_pools(before));
    STRATA_TRY_VOID(prepare(ContextOptions(prepared_)));
  }
  STRATA_TRY_VOID(restart(sequence));
  can_go_on_ = true;
  return changed;
}

}  // namespace strata::engine
