#pragma once

#include <ggml.h>

#include <span>
#include <vector>

namespace brimful::tier {

/// The nodes of a step with experts that lead from the input of its products to its last product, in the
/// order of the graph. Each of them makes one row of its result from the same row of its operands, so the
/// host can compute all of them for the rows that the device lacks, and the device needs only the rows of the
/// last one. Empty where the graph has other nodes there, or needs the rows of others. `nodes`: a stretch of
/// a graph that has all `products` and whatever uses their results before them or behind. Requires: the
/// products are in the order of the graph.
[[nodiscard]] std::vector<const ggml_tensor*> find_host_chain(std::span<ggml_tensor* const> nodes,
                                                              std::span<const ggml_tensor* const> products);

/// The tensor whose bytes `tensor` is, or shows in the same rows.
[[nodiscard]] const ggml_tensor* shown_by(const ggml_tensor* tensor);

}  // namespace brimful::tier
