#include "engine/ram_budget.h"

#include <utility>

#include "base/check.h"
#include "control/socket_folder.h"
#include "foreign/foreign_limits.h"

namespace brimful::engine {

Result<std::unique_ptr<RamBudget>> RamBudget::create(Options options) {
  BRIMFUL_TRY(const hardware::HostMemory host,
              options.machine ? *options.machine : hardware::read_host_memory());
  const hardware::HostBudget alone =
      hardware::decide_host_budget(options.wanted, {.host = host}, options.name);
  std::unique_ptr<RamBudget> out(new RamBudget(std::move(options), alone.bytes));
  foreign::set_foreign_limits(alone.bytes);
  out->announce();
  return out;
}

void RamBudget::announce() {
  if (!options_.claims_memory || options_.machine) return;
  const auto folder = control::socket_folder();
  if (!folder) return;
  if (auto claim = hardware::MemoryClaim::announce(*folder)) claim_ = std::move(*claim);
}

Result<hardware::HostMemory> RamBudget::machine() const {
  if (options_.machine) return *options_.machine;
  return hardware::read_host_memory();
}

Result<Bytes> RamBudget::room() const {
  BRIMFUL_TRY(const hardware::ProcessMemory process, hardware::read_process_memory());
  BRIMFUL_TRY(const hardware::HostMemory host, machine());
  return hardware::room(pool_.capacity(), host, process);
}

Result<hardware::HostBudget> RamBudget::decide(std::optional<Bytes> wanted) {
  hardware::BudgetBounds bounds;
  hardware::MemoryClaim::Others others;
  if (claim_) {
    others = claim_->begin_to_decide();
  } else if (const auto folder = control::socket_folder(); folder && !options_.machine) {
    others = hardware::MemoryClaim::read(*folder);
    others.starting = 0;
  }
  bounds.others = std::move(others.decided);
  bounds.starting = others.starting;
  BRIMFUL_TRY(bounds.host, machine());
  if (!options_.machine) {
    BRIMFUL_TRY(hardware::ProcessMemory process, hardware::read_process_memory());
    process.resident = process.anonymous;
    bounds.own = hardware::held_bytes(process);
  }
  hardware::HostBudget out = hardware::decide_host_budget(wanted, bounds, options_.name);
  if (claim_) claim_->promise(out.bytes);
  return out;
}

Status RamBudget::decide_first() {
  if (is_decided_) return {};
  BRIMFUL_TRY(hardware::HostBudget budget, decide(options_.wanted));
  if (budget.bytes != pool_.capacity()) {
    BRIMFUL_TRY_VOID(resize(budget.bytes));
    peak_ = hardware::MemoryPeak(budget.bytes);
  }
  note_ = std::move(budget.note);
  is_decided_ = true;
  return {};
}

Status RamBudget::resize(Bytes budget) {
  BRIMFUL_TRY_VOID(pool_.resize(budget));
  foreign::set_foreign_limits(budget);  // The plan reserves what these limits allow.
  return {};
}

void RamBudget::settle(Bytes most) {
  if (!claim_) return;
  claim_->promise(most);
  claim_->settle();
}

Result<Bytes> RamBudget::most() {
  BRIMFUL_CHECK(!claim_);
  BRIMFUL_TRY(const hardware::HostMemory host, machine());
  BRIMFUL_TRY(const hardware::HostBudget most, decide(host.available));
  return most.bytes;
}

plan::MemoryMap RamBudget::memory_map(const model::ModelProfile& profile,
                                      const plan::Placement& placement) const {
  using memory::Tag;
  plan::MemoryMap map;
  map.budget = pool_.capacity();
  map.resident_weights = pool_.reserved(Tag::kWeights);
  map.experts = pool_.reserved(Tag::kExperts);
  map.ring = pool_.reserved(Tag::kRing);
  map.kv_cache = pool_.reserved(Tag::kKvCache);
  map.compute = pool_.reserved(Tag::kCompute);
  map.draft_model = pool_.reserved(Tag::kDraft);
  map.runtime = pool_.reserved(Tag::kRuntime);
  map.unused = pool_.capacity() - pool_.reserved();
  plan::describe_weights(profile, placement, map);
  return map;
}

}  // namespace brimful::engine
