#pragma once

#include <ggml.h>

namespace strata::tier {

/// Whether `node` only shows the bytes of another tensor.
inline bool computes_nothing(const ggml_tensor* node) {
  switch (node->op) {
    case GGML_OP_NONE:
    case GGML_OP_VIEW:
    case GGML_OP_RESHAPE:
    case GGML_OP_PERMUTE:
    case GGML_OP_TRANSPOSE: return true;
    default: return false;
  }
}

}  // namespace strata::tier
