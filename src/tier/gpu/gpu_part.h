#pragma once

#include <ggml-impl.h>

#include <vector>

namespace brimful::tier {

/// A part of a graph that a device computes on its own. `graph.nodes` points to `nodes`.
struct GpuPart {
  ggml_cgraph graph;
  std::vector<ggml_tensor*> nodes;
};

}  // namespace brimful::tier
