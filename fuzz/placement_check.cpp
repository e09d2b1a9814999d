#include "placement_check.h"

#include <map>
#include <vector>

#include "base/check.h"
#include "plan/placement.h"

namespace brimful::fuzz {
namespace {

// The cost of a plan is proportional to its units. More of them would only make each run slow.
constexpr Bytes kMostWeights = kMiB * 64;
constexpr std::size_t kMostTensors = 64;
constexpr std::int64_t kMostExperts = 1024;
constexpr plan::Bookkeeping kCosts{.per_unit = Bytes{100}, .per_expert = Bytes{10}};

/// Makes uses for the tensors. The expert tensors of a layer that have the same number of experts share a
/// router.
std::vector<plan::TensorUse> uses_of(const model::ModelProfile& profile, std::uint64_t choice) {
  std::vector<plan::TensorUse> uses;
  std::map<std::pair<int, std::int64_t>, std::uint32_t> groups;
  for (std::uint32_t i = 0; i < profile.tensors.size(); ++i) {
    const model::TensorInfo& tensor = profile.tensors[i];
    const std::uint64_t bits = choice >> (3 * i % 60);
    const bool gather = tensor.role == model::Role::kTokenEmbedding;
    const bool by_rows = (bits & 1) != 0;
    plan::TensorUse use{.tensor = i, .gather = gather, .by_rows = by_rows, .whole = !by_rows && !gather};
    if ((bits & 2) != 0) use.whole = true;
    const std::int64_t experts = tensor.shape[2];
    const bool has_experts = tensor.role == model::Role::kExpert && experts > 1 && tensor.shape[3] == 1;
    if (has_experts && experts <= kMostExperts && (bits & 4) == 0) {
      use.whole = true;
      use.contiguous = by_rows;
      use.expert_group = groups.try_emplace({tensor.layer.value_or(-1), experts}, i).first->second;
    }
    uses.push_back(use);
  }
  return uses;
}

void check_unit(const plan::Unit& unit, const plan::Placement& plan, const model::TensorInfo& tensor) {
  BRIMFUL_CHECK(unit.rows > 0 && unit.first_row >= 0 && unit.first_row + unit.rows <= tensor.rows());
  BRIMFUL_CHECK(unit.offset >= tensor.offset);
  BRIMFUL_CHECK(unit.offset + unit.bytes.value <= tensor.offset + tensor.bytes.value);
  if (!unit.resident) return;
  BRIMFUL_CHECK(unit.place >= plan.ring.value && unit.place + unit.bytes.value <= plan.arena_bytes().value);
}

void check_group(const plan::ExpertGroup& group, const plan::Placement& plan) {
  BRIMFUL_CHECK(group.slots <= group.experts);
  for (const plan::ExpertPart& part : group.parts) {
    BRIMFUL_CHECK(part.place >= plan.ring.value);
    BRIMFUL_CHECK(part.place + (part.stride * group.slots).value <= plan.arena_bytes().value);
  }
}

void check_plan(const plan::Placement& plan, const std::vector<plan::TensorUse>& uses,
                const model::ModelProfile& profile, Bytes budget) {
  BRIMFUL_CHECK(plan.arena_bytes() + plan.bookkeeping(kCosts) <= budget);
  std::vector<std::uint64_t> covered(profile.tensors.size());
  for (const plan::Unit& unit : plan.units) {
    check_unit(unit, plan, profile.tensors[unit.tensor]);
    covered[unit.tensor] += unit.bytes.value;
  }
  for (const plan::ExpertGroup& group : plan.groups) {
    check_group(group, plan);
    for (const plan::ExpertPart& part : group.parts) covered[part.tensor] += part.bytes.value * group.experts;
  }
  for (const plan::TensorUse& use : uses) {
    if (!use.by_rows && !use.whole) continue;
    BRIMFUL_CHECK(covered[use.tensor] == profile.tensors[use.tensor].bytes.value);
  }
}

}  // namespace

void check_placement(const model::ModelProfile& profile, std::uint64_t choice) {
  if (profile.weight_bytes() > kMostWeights || profile.tensors.size() > kMostTensors) return;
  const auto uses = uses_of(profile, choice);
  const Bytes least = plan::smallest_budget(profile, uses, kCosts);
  for (const Bytes budget : {least, least + profile.weight_bytes(), least + Bytes{choice % 4096}}) {
    const auto plan = plan::place(profile, uses, budget, kCosts);
    BRIMFUL_CHECK(plan);
    check_plan(*plan, uses, profile, budget);
  }
  if (least.value == 0) return;
  const auto refused = plan::place(profile, uses, least - Bytes{1}, kCosts);
  BRIMFUL_CHECK(!refused && refused.error().code == ErrorCode::kInfeasible);
}

}  // namespace brimful::fuzz
