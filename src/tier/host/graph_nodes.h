#pragma once

#include <ggml.h>

namespace brimful::tier {

/// Whether `node` is only a view of another tensor's bytes, or has no operation.
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

/// A tensor with the shape of `ids` ([used, tokens]) and no gaps between its rows, to hold other numbers for
/// the same choice. The caller sets its data.
inline ggml_tensor without_gaps(const ggml_tensor& ids) {
  ggml_tensor out = ids;
  out.nb[1] = static_cast<std::size_t>(ids.ne[0]) * out.nb[0];
  out.nb[2] = out.nb[3] = static_cast<std::size_t>(ids.ne[1]) * out.nb[1];
  return out;
}

}  // namespace brimful::tier
