#pragma once

#include <ggml.h>

#include "card.h"

namespace brimful::timed_card {

/// Whether a node only names memory that other nodes have computed.
[[nodiscard]] bool is_view(const ggml_tensor& node);

/// The matrix or the experts of a product; null where the node is no product.
[[nodiscard]] const ggml_tensor* weights_of(const ggml_tensor& node);

/// The seconds that the card needs for a node without its launch: what it reads and writes at the rate of its
/// memory, or its multiplications at the rate of its processors, whichever takes longer. Requires: the ids of
/// a product with experts are computed.
[[nodiscard]] double seconds_for(const ggml_tensor& node, const Card& card);

}  // namespace brimful::timed_card
