#include "costs.h"

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <set>

namespace brimful::timed_card {
namespace {

/// Attention multiplies in F16, at about this part of the rate of products with quantised weights.
constexpr double kAttentionShare = 0.5;

double bytes_of(const ggml_tensor* tensor) {
  return tensor != nullptr ? static_cast<double>(ggml_nbytes(tensor)) : 0.0;
}

double elements(const ggml_tensor& tensor) { return static_cast<double>(ggml_nelements(&tensor)); }

/// How many experts a product uses. They are read from the ids; numbers outside of the experts count as none.
double experts_used(const ggml_tensor& node) {
  const ggml_tensor& ids = *node.src[2];
  std::set<std::int32_t> used;
  for (std::int64_t token = 0; token < ids.ne[1]; ++token) {
    for (std::int64_t rank = 0; rank < ids.ne[0]; ++rank) {
      const auto* const at = static_cast<const std::byte*>(ids.data) +
                             static_cast<std::size_t>(token) * ids.nb[1] +
                             static_cast<std::size_t>(rank) * ids.nb[0];
      const auto id = *reinterpret_cast<const std::int32_t*>(at);
      if (id >= 0 && id < node.src[0]->ne[2]) used.insert(id);
    }
  }
  return static_cast<double>(used.size());
}

}  // namespace

bool is_view(const ggml_tensor& node) {
  return node.op == GGML_OP_NONE || node.op == GGML_OP_RESHAPE || node.op == GGML_OP_VIEW ||
         node.op == GGML_OP_PERMUTE || node.op == GGML_OP_TRANSPOSE;
}

const ggml_tensor* weights_of(const ggml_tensor& node) {
  return node.op == GGML_OP_MUL_MAT || node.op == GGML_OP_MUL_MAT_ID ? node.src[0] : nullptr;
}

double seconds_for(const ggml_tensor& node, const Card& card) {
  if (is_view(node)) return 0;
  double bytes = bytes_of(&node);
  double operations = 0;
  switch (node.op) {
    case GGML_OP_MUL_MAT:
      bytes += bytes_of(node.src[0]) + bytes_of(node.src[1]);
      operations = 2 * elements(node) * static_cast<double>(node.src[0]->ne[0]);
      break;
    case GGML_OP_MUL_MAT_ID:
      bytes += bytes_of(node.src[0]) / static_cast<double>(node.src[0]->ne[2]) * experts_used(node) +
               bytes_of(node.src[1]);
      operations = 2 * elements(node) * static_cast<double>(node.src[0]->ne[0]);
      break;
    case GGML_OP_FLASH_ATTN_EXT:
      for (int i = 0; i < 4; ++i) bytes += bytes_of(node.src[i]);
      // Each query meets all cells twice: once the keys, once the values.
      operations = 4 * elements(*node.src[0]) * static_cast<double>(node.src[1]->ne[1]) / kAttentionShare;
      break;
    case GGML_OP_GET_ROWS: bytes *= 2; break;  // It reads only the rows that it picks.
    case GGML_OP_SET_ROWS: bytes = 2 * bytes_of(node.src[0]); break;
    default:
      for (const ggml_tensor* const source : node.src) bytes += bytes_of(source);
  }
  return std::max(bytes / card.memory_rate, operations / card.flops);
}

}  // namespace brimful::timed_card
