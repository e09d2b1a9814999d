#include "placement_check.h"

#include <vector>

#include "base/check.h"
#include "plan/placement.h"

namespace strata::fuzz {
namespace {

// A plan's cost is that of its units: more would only make each run slow.
constexpr Bytes kMostWeights = kMiB * 64;
constexpr std::size_t kMostTensors = 64;
constexpr Bytes kPerUnit{100};

std::vector<plan::TensorUse> uses_of(const model::ModelProfile& profile, std::uint64_t choice) {
  std::vector<plan::TensorUse> uses;
  for (std::uint32_t i = 0; i < profile.tensors.size(); ++i) {
    const std::uint64_t bits = choice >> (2 * i % 60);
    const bool gather = profile.tensors[i].role == model::Role::kTokenEmbedding;
    const bool by_rows = (bits & 1) != 0;
    uses.push_back({.tensor = i, .gather = gather, .by_rows = by_rows, .whole = !by_rows && !gather});
    if ((bits & 2) != 0) uses.back().whole = true;
  }
  return uses;
}

void check_plan(const plan::Placement& plan, const std::vector<plan::TensorUse>& uses,
                const model::ModelProfile& profile, Bytes budget) {
  STRATA_CHECK(plan.arena_bytes() + kPerUnit * plan.units.size() <= budget);
  std::vector<std::uint64_t> covered(profile.tensors.size());
  for (const plan::Unit& unit : plan.units) {
    const model::TensorInfo& tensor = profile.tensors[unit.tensor];
    STRATA_CHECK(unit.rows > 0 && unit.first_row >= 0 && unit.first_row + unit.rows <= tensor.rows());
    STRATA_CHECK(unit.offset >= tensor.offset &&
                 unit.offset + unit.bytes.value <= tensor.offset + tensor.bytes.value);
    STRATA_CHECK(!unit.resident || (unit.place >= plan.ring.value &&
                                    unit.place + unit.bytes.value <= plan.arena_bytes().value));
    covered[unit.tensor] += unit.bytes.value;
  }
  for (const plan::TensorUse& use : uses) {
    if (use.by_rows || use.whole)
      STRATA_CHECK(covered[use.tensor] == profile.tensors[use.tensor].bytes.value);
  }
}

}  // namespace

void check_placement(const model::ModelProfile& profile, std::uint64_t choice) {
  if (profile.weight_bytes() > kMostWeights || profile.tensors.size() > kMostTensors) return;
  const auto uses = uses_of(profile, choice);
  const Bytes least = plan::smallest_budget(profile, uses, kPerUnit);
  for (const Bytes budget : {least, least + profile.weight_bytes(), least + Bytes{choice % 4096}}) {
    const auto plan = plan::place(profile, uses, budget, kPerUnit);
    STRATA_CHECK(plan);
    check_plan(*plan, uses, profile, budget);
  }
  if (least.value == 0) return;
  const auto refused = plan::place(profile, uses, least - Bytes{1}, kPerUnit);
  STRATA_CHECK(!refused && refused.error().code == ErrorCode::kInfeasible);
}

}  // namespace strata::fuzz
