#pragma once

#include <llama.h>

#include <cstdint>

#include "base/result.h"
#include "engine/gpu_tier.h"

namespace brimful::engine {

/// The largest batch, where that is larger than a pass.
struct LargestBatch {
  /// The number of its tokens whose logits are wanted; 0: a batch is one pass.
  std::uint32_t outputs = 0;
  /// The number of tokens that each of its sequences has; 0: as many as a sequence can have.
  std::uint32_t sequence_tokens = 0;
};

/// Shows the devices all graphs that `context` can have, so that they know what these need, and makes
/// libllama do all its allocations. Nothing is computed, and the context is empty afterwards. `params`: those
/// of the context. Requires: no weight is placed, and the context is empty. Errors: kInternal when llama.cpp
/// cannot build a graph.
[[nodiscard]] Status record_graphs(llama_context* context, const llama_context_params& params,
                                   bool only_embeds, LargestBatch largest, tier::HostDevice& host,
                                   GpuTier& gpus);

}  // namespace brimful::engine
