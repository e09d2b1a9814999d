#pragma once

#include <ggml.h>

#include <optional>

namespace brimful::tier {

/// The layer of a norm, by the name that libllama gives it: `norm-5`. Unset for other nodes, and for norms of
/// no layer. libllama asks the device of a layer's KV cache first whether it computes the layer's norms, also
/// where the products before and behind them are computed elsewhere.
[[nodiscard]] std::optional<int> layer_of_norm(const ggml_tensor& op);

}  // namespace brimful::tier
