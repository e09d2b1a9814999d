#pragma once

#include <ggml.h>

#include <optional>

/// Layers by the names that libllama gives to nodes and tensors of its graphs.
namespace brimful::tier {

/// The layer of a norm: `norm-5`. Unset for other nodes, and for norms of no layer. libllama asks the device
/// of a layer's KV cache first whether it computes the layer's norms, also where the products before and
/// behind them are computed elsewhere.
[[nodiscard]] std::optional<int> layer_of_norm(const ggml_tensor& op);

/// The layer whose KV cache or state this tensor is: `cache_k_l5`. Unset for all others.
[[nodiscard]] std::optional<int> layer_of_state(const ggml_tensor& tensor);

}  // namespace brimful::tier
