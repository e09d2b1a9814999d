#pragma once

#include <ggml.h>

#include "plan/graph_work.h"
#include "tier/layout/repacked_layout.h"
#include "tier/weights/weight_buffer.h"

namespace brimful::tier {

/// Reads from the nodes of `graph` what it computes. It changes nothing.
[[nodiscard]] plan::GraphWork work_of(const ggml_cgraph& graph, const WeightBufferType& weights,
                                      const RepackedLayout& layout);

}  // namespace brimful::tier
