#pragma once

#include <cstdint>
#include <utility>
#include <vector>

#include "plan/graph_work.h"
#include "plan/placement.h"

namespace brimful::plan {

/// What one shape of context asks of the host's budget, as libllama and the kernel tell it: everything but
/// the places of weights.
struct HostDemand {
  Bytes held;  ///< by the process before any buffer is filled, but for adapters
  Bytes adapters;
  Bytes kv_cache;  ///< and the output buffers
  Bytes compute;   ///< and working memory, staging
  Bytes draft_model;
  Bytes growth;  ///< of the process while it runs
  Bytes least_for_weights;
  Bookkeeping bookkeeping;
  std::vector<TensorUse> uses;

  [[nodiscard]] Bytes fixed() const { return held + adapters + kv_cache + compute + draft_model + growth; }
  [[nodiscard]] Bytes least() const;
  [[nodiscard]] Bytes for_weights(Bytes budget) const;
};

/// Where the budget goes. The parts add up to `budget`, exactly.
struct MemoryMap {
  Bytes budget;
  Bytes resident_weights;  ///< and those of LoRA adapters
  Bytes experts;           ///< slots and stage
  Bytes ring;
  Bytes kv_cache;  ///< and the output buffers
  Bytes compute;
  Bytes draft_model;  ///< all of it
  Bytes runtime;      ///< program, libraries, vocabulary, stacks, and the reserve for their growth
  Bytes unused;       ///< too small for the next weight, or not needed
  Bytes total_weights;
  Bytes resident_weight_bytes;  ///< of tensors; `resident_weights` has the blocks they lie in
  Bytes streamed_per_pass;
  Bytes experts_total;     ///< of tensors whose experts are read as they are chosen
  Bytes experts_in_slots;  ///< the most of these that memory holds
  std::vector<std::pair<int, double>> resident_share;  ///< by layer (-1: outside the layers), 0..1

  /// The most that will be held. Where weights stream, a run fills what a plan leaves unused, if it can.
  [[nodiscard]] Bytes peak() const { return streams() ? budget : budget - unused; }
  [[nodiscard]] bool streams() const { return streamed_per_pass > Bytes{} || experts_total > Bytes{}; }
};

/// The weights' part of a map: what of them stays, by layer.
void describe_weights(const model::ModelProfile& profile, const Placement& placement, MemoryMap& map);

/// What a run will do, known before a weight is read.
struct HostPlan {
  Bytes budget;
  std::uint32_t context = 0;  ///< tokens
  std::uint32_t ubatch = 0;   ///< tokens
  std::uint32_t draft = 0;    ///< most drafted tokens of a pass
  HostDemand demand;
  Placement placement;
  GraphWork decode;  ///< one token
  GraphWork prompt;  ///< a full ubatch

  [[nodiscard]] Bytes runtime() const;
  [[nodiscard]] MemoryMap memory_map(const model::ModelProfile& profile) const;
};

}  // namespace brimful::plan
