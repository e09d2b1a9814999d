#include "tier/host/graph_recorder.h"

#include <ggml-impl.h>

#include <algorithm>
#include <set>

#include "tier/host/graph_nodes.h"
#include "tier/host/layer_names.h"

namespace brimful::tier {
namespace {

double count(const ggml_tensor* t) { return static_cast<double>(ggml_nelements(t)); }

void add_product(plan::GraphWork& work, const ggml_tensor* node, bool repacked) {
  const ggml_tensor* const weight = node->src[0];
  const bool experts = node->op == GGML_OP_MUL_MAT_ID;
  const double used = experts ? count(node->src[2]) : 0;
  const double columns = experts ? std::max(1.0, used / static_cast<double>(weight->ne[2]))
                                 : static_cast<double>(node->src[1]->ne[1]);
  if (experts) work.experts_used = std::max(work.experts_used, node->src[2]->ne[0]);
  const auto known = std::ranges::find_if(work.products, [&](const plan::Products& p) {
    return p.type == weight->type && p.repacked == repacked && p.experts == experts && p.columns == columns &&
           p.row == weight->ne[0];
  });
  plan::Products& products = known != work.products.end()
                                 ? *known
                                 : work.products.emplace_back(plan::Products{weight->type, repacked, experts,
                                                                             columns, 0, weight->ne[0]});
  products.multiplications += count(node) * static_cast<double>(weight->ne[0]);
}

void add_attention(plan::GraphWork& work, const ggml_tensor* node) {
  const bool fused = node->op == GGML_OP_FLASH_ATTN_EXT;
  const ggml_tensor* const left = fused ? node->src[1] : node->src[0];
  work.attention += Bytes{ggml_row_size(left->type, ggml_nelements(left))};
  work.quantised_cache |= ggml_is_quantized(left->type);
  if (fused) work.head = left->ne[0];
  if (fused) {
    const ggml_tensor* const values = node->src[2];
    work.attention += Bytes{ggml_row_size(values->type, ggml_nelements(values))};
    work.cells = std::max(work.cells, left->ne[1]);
    const double queries = count(node->src[0]) / static_cast<double>(node->src[0]->ne[0]);
    work.attention_multiplications +=
        queries * static_cast<double>(left->ne[1] * (left->ne[0] + values->ne[0]));
  } else {
    work.cells = std::max({work.cells, left->ne[0], left->ne[1]});
    work.attention_multiplications += count(node) * static_cast<double>(left->ne[0]);
  }
}

/// Adds the states that a node uses. `known` has those that were added before.
void add_states(plan::GraphWork& work, const ggml_tensor* node, std::set<const ggml_tensor*>& known) {
  for (const ggml_tensor* src : node->src) {
    while (src != nullptr && src->view_src != nullptr) src = src->view_src;
    if (src == nullptr) continue;
    const auto layer = layer_of_state(*src);
    if (layer && known.insert(src).second) work.state_of_layers[*layer] += Bytes{ggml_nbytes(src)};
  }
}

}  // namespace

plan::GraphWork work_of(const ggml_cgraph& graph, const WeightBufferType& weights,
                        const RepackedLayout& layout) {
  plan::GraphWork work;
  std::set<const ggml_tensor*> states;
  for (int n = 0; n < graph.n_nodes; ++n) {
    const ggml_tensor* const node = graph.nodes[n];
    add_states(work, node, states);
    if (computes_nothing(node)) continue;
    ++work.nodes;
    const bool product = node->op == GGML_OP_MUL_MAT || node->op == GGML_OP_MUL_MAT_ID;
    if (product && weights.weight_of(node->src[0])) {
      add_product(work, node, layout.serves(node));
      work.tokens = std::max(work.tokens, node->op == GGML_OP_MUL_MAT ? node->src[1]->ne[1] : node->ne[2]);
    } else if (product || node->op == GGML_OP_FLASH_ATTN_EXT) {
      add_attention(work, node);
    } else if (node->op == GGML_OP_GET_ROWS || node->op == GGML_OP_SET_ROWS) {
      work.elements +=
          Bytes{2 * ggml_row_size(node->src[0]->type,
                                  ggml_nelements(node->op == GGML_OP_GET_ROWS ? node : node->src[0]))};
    } else {
      work.elements += Bytes{ggml_nbytes(node)};
      for (int s = 0; s < GGML_MAX_SRC && node->src[s] != nullptr; ++s) {
        work.elements += Bytes{ggml_row_size(node->src[s]->type, ggml_nelements(node->src[s]))};
      }
    }
  }
  return work;
}

}  // namespace brimful::tier
