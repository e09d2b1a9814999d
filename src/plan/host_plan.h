#pragma once

#include <cstdint>
#include <map>
#include <utility>
#include <vector>

#include "plan/graph_work.h"
#include "plan/placement.h"

namespace brimful::plan {

/// What a context of one shape needs of the host's budget, as libllama and the kernel report it: everything
/// but the places of weights.
struct HostDemand {
  /// What the process holds before any buffer is filled, without adapters.
  Bytes held;
  Bytes adapters;
  /// KV cache and output buffers.
  Bytes kv_cache;
  /// What each layer has of `kv_cache`. Empty where it is not known.
  std::map<int, Bytes> kv_of_layers;
  /// Compute buffers, working memory and staging.
  Bytes compute;
  /// All that the draft model holds; 0 without one.
  Bytes draft_model;
  /// Growth of the process while it runs.
  Bytes growth;
  /// The smallest arena and bookkeeping with which a pass can run.
  Bytes least_for_weights;
  /// Heap for each unit and each expert of a placement.
  Bookkeeping bookkeeping;
  /// In the order of first use.
  std::vector<TensorUse> uses;

  /// Everything that does not depend on where weights lie.
  [[nodiscard]] Bytes fixed() const { return held + adapters + kv_cache + compute + draft_model + growth; }
  /// The smallest host budget that is enough.
  [[nodiscard]] Bytes least() const;
  /// What is left of `budget` for the arena and its bookkeeping, after their page tables; 0 if nothing is
  /// left.
  [[nodiscard]] Bytes for_weights(Bytes budget) const;
};

/// What the host's budget is used for. The parts from `resident_weights` to `unused` add up to `budget`,
/// exactly.
struct MemoryMap {
  Bytes budget;
  /// Resident weights in the blocks they lie in, and the weights of LoRA adapters.
  Bytes resident_weights;
  /// Slots, stage and bounce buffers for experts.
  Bytes experts;
  Bytes ring;
  /// KV cache and output buffers.
  Bytes kv_cache;
  Bytes compute;
  /// All that the draft model holds.
  Bytes draft_model;
  /// Program, libraries, vocabulary and stacks, and the reserve for their growth.
  Bytes runtime;
  /// What is too small for the next weight, or not needed.
  Bytes unused;
  Bytes total_weights;
  /// Bytes of the resident weights alone, without the rest of the blocks they lie in.
  Bytes resident_weight_bytes;
  Bytes streamed_per_pass;
  /// Bytes of the expert weights that are read as they are chosen.
  Bytes experts_total;
  /// Bytes of the slots for these experts.
  Bytes experts_in_slots;
  /// For each layer (-1: outside the layers), the share of its bytes that stays in memory, 0..1.
  std::vector<std::pair<int, double>> resident_share;

  /// The most that will be held. Where weights stream, a run fills what the plan leaves unused, if it can.
  [[nodiscard]] Bytes peak() const { return streams() ? budget : budget - unused; }
  /// Whether a pass reads weights from disk.
  [[nodiscard]] bool streams() const { return streamed_per_pass > Bytes{} || experts_total > Bytes{}; }
};

/// Fills the fields of `map` that describe weights: from `total_weights` to `resident_share`.
void describe_weights(const model::ModelProfile& profile, const Placement& placement, MemoryMap& map);

/// What a run will do on the host. It is known before a weight is read.
struct HostPlan {
  Bytes budget;
  /// Tokens.
  std::uint32_t context = 0;
  /// Tokens.
  std::uint32_t ubatch = 0;
  /// Largest number of drafted tokens in a pass.
  std::uint32_t draft = 0;
  HostDemand demand;
  Placement placement;
  /// The work of a pass of one token.
  GraphWork decode;
  /// The work of a pass of a full ubatch.
  GraphWork prompt;

  /// Bytes of MemoryMap::runtime.
  [[nodiscard]] Bytes runtime() const;
  /// How the budget is used. Requires: the plan fits its budget.
  [[nodiscard]] MemoryMap memory_map(const model::ModelProfile& profile) const;
};

}  // namespace brimful::plan
