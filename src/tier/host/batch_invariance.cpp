#include "tier/host/batch_invariance.h"

#include <fmt/format.h>
#include <ggml-impl.h>

#include <algorithm>

#include "base/check.h"

namespace brimful::tier {
namespace {

enum class Kind { kNothing, kByRows, kChoosesByTokens, kUnknown };

Kind kind_of(const ggml_tensor& node) {
  switch (node.op) {
    case GGML_OP_NONE:
    case GGML_OP_VIEW:
    case GGML_OP_RESHAPE:
    case GGML_OP_PERMUTE:
    case GGML_OP_TRANSPOSE: return Kind::kNothing;
    case GGML_OP_MUL_MAT:  // a Hadamard matrix: each row is transformed in place, nothing is multiplied
      return ggml_get_op_params_i32(&node, 1) == GGML_HINT_SRC0_IS_HADAMARD ? Kind::kByRows
                                                                            : Kind::kChoosesByTokens;
    case GGML_OP_MUL_MAT_ID:
    case GGML_OP_FLASH_ATTN_EXT: return Kind::kChoosesByTokens;
    case GGML_OP_GET_ROWS:
    case GGML_OP_SET_ROWS:
    case GGML_OP_ADD:
    case GGML_OP_ADD_ID:
    case GGML_OP_SUB:
    case GGML_OP_MUL:
    case GGML_OP_DIV:
    case GGML_OP_SQR:
    case GGML_OP_SQRT:
    case GGML_OP_LOG:
    case GGML_OP_SIN:
    case GGML_OP_COS:
    case GGML_OP_SCALE:
    case GGML_OP_CLAMP:
    case GGML_OP_UNARY:
    case GGML_OP_GLU:
    case GGML_OP_NORM:
    case GGML_OP_RMS_NORM:
    case GGML_OP_L2_NORM:
    case GGML_OP_ROPE:
    case GGML_OP_SOFT_MAX:
    case GGML_OP_SUM_ROWS:
    case GGML_OP_ARGSORT:
    case GGML_OP_TOP_K:
    case GGML_OP_REPEAT:
    case GGML_OP_CONCAT:
    case GGML_OP_FILL:
    case GGML_OP_DUP:
    case GGML_OP_CPY:
    case GGML_OP_CONT: return Kind::kByRows;
    default: return Kind::kUnknown;
  }
}

Status unsupported(const ggml_tensor& node) {
  return fail(ErrorCode::kUnsupported, fmt::format("{} ('{}') is not known to compute each token by itself",
                                                   ggml_op_name(node.op), node.name));
}

/// Whether `node` can be cut along `dimension`: its operands must count the tokens where NodeCutter::cut
/// expects it.
bool can_cut(const ggml_tensor& node, int dimension, std::int64_t tokens) {
  switch (node.op) {
    case GGML_OP_MUL_MAT:
      return node.src[1]->ne[dimension] == tokens && (dimension == 1 || node.src[0]->ne[dimension] == 1);
    case GGML_OP_MUL_MAT_ID:
      return dimension == 2 && node.src[1]->ne[2] == tokens && node.src[2]->ne[1] == tokens;
    case GGML_OP_FLASH_ATTN_EXT:
      return dimension == 2 && node.src[0]->ne[1] == tokens &&
             (node.src[3] == nullptr || node.src[3]->ne[1] >= tokens);
    default: return false;
  }
}

}  // namespace

void BatchInvariance::begin_pass() {
  learned_ = !one_.empty();
  at_ = 0;
}

void BatchInvariance::forget() {
  one_.clear();
  learned_ = false;
  at_ = 0;
}

Status BatchInvariance::learn(const ggml_cgraph& graph) {
  for (int n = 0; n < graph.n_nodes; ++n) {
    const ggml_tensor& node = *graph.nodes[n];
    const Kind kind = kind_of(node);
    if (kind == Kind::kNothing) continue;
    if (kind == Kind::kUnknown) {
      one_.clear();
      return unsupported(node);
    }
    Operation& operation = one_.emplace_back();
    operation.op = node.op;
    std::copy_n(node.ne, GGML_MAX_DIMS, operation.ne);
  }
  at_ = one_.size();
  return {};
}

Result<BatchInvariance::Cuts> BatchInvariance::match(const ggml_cgraph& graph) {
  Cuts cuts;
  cuts.dimension.assign(static_cast<std::size_t>(graph.n_nodes), 0);
  for (int n = 0; n < graph.n_nodes; ++n) {
    const ggml_tensor& node = *graph.nodes[n];
    if (kind_of(node) == Kind::kNothing) continue;
    if (at_ == one_.size() || one_[at_].op != node.op) return std::unexpected(unsupported(node).error());
    const Operation& one = one_[at_++];
    if (kind_of(node) != Kind::kChoosesByTokens) continue;
    int dimension = 0;
    for (int d = 1; d < GGML_MAX_DIMS; ++d) {  // ne[0] may grow with the length of the text
      if (node.ne[d] == one.ne[d]) continue;
      if (cuts.tokens == 1) cuts.tokens = node.ne[d];
      if (dimension != 0 || one.ne[d] != 1 || node.ne[d] != cuts.tokens || !can_cut(node, d, cuts.tokens))
        return std::unexpected(unsupported(node).error());
      dimension = d;
    }
    if (node.op == GGML_OP_MUL_MAT_ID && !options_.splits_experts) dimension = 0;
    cuts.dimension[static_cast<std::size_t>(n)] = static_cast<std::uint8_t>(dimension);
  }
  return cuts;
}

std::optional<std::int64_t> BatchInvariance::trusted(const Kernel& kernel) const {
  const auto known = trusted_.find(kernel);
  return known == trusted_.end() ? std::nullopt : std::optional(known->second);
}

std::int64_t BatchInvariance::together(const ggml_tensor& node, bool repacked) const {
  const bool matrices = node.op == GGML_OP_MUL_MAT && node.ne[2] == 1 && node.ne[3] == 1 &&
                        node.src[0]->ne[2] == 1 && node.src[0]->ne[3] == 1 && ggml_is_contiguous(node.src[1]);
  return matrices || node.op == GGML_OP_MUL_MAT_ID ? trusted(kernel_of(node, repacked)).value_or(1) : 1;
}

std::uint64_t BatchInvariance::stretches(const ggml_tensor& node, bool repacked, std::int64_t tokens) const {
  const std::int64_t at_once = together(node, repacked);
  return static_cast<std::uint64_t>((tokens + at_once - 1) / at_once);
}

void NodeCutter::cut(ggml_tensor* node, bool repacked, int dimension, std::int64_t tokens,
                     std::vector<ggml_tensor*>& out) {
  const std::int64_t together = split_.together(*node, repacked);
  if (dimension == 0 || together >= tokens) {
    out.push_back(node);
    return;
  }
  cut_first(node, dimension, tokens, together, out);
}

void NodeCutter::cut_first(ggml_tensor* node, int dimension, std::int64_t tokens, std::int64_t together,
                           std::vector<ggml_tensor*>& out) {
  const ggml_tensor* const operand = node->src[node->op == GGML_OP_FLASH_ATTN_EXT ? 0 : 1];
  if (std::exchange(operand_, operand) != operand) views_.clear();
  for (std::int64_t first = 0; first < tokens; first += together) {
    const std::int64_t count = std::min(together, tokens - first);
    ggml_tensor& part = copy_(*node);
    part.ne[dimension] = count;
    part.data = static_cast<char*>(node->data) + static_cast<std::size_t>(first) * node->nb[dimension];
    switch (node->op) {
      case GGML_OP_MUL_MAT: cut_operand(part, 1, dimension, first, count); break;
      case GGML_OP_MUL_MAT_ID:  // cut the input, and the router's choice
        cut_operand(part, 1, 2, first, count);
        cut_operand(part, 2, 1, first, count);
        break;
      default:  // attention: cut the queries, and their rows of the mask
        cut_operand(part, 0, 1, first, count);
        if (part.src[3] != nullptr) cut_operand(part, 3, 1, first, count);
    }
    out.push_back(&part);
  }
}

void NodeCutter::cut_operand(ggml_tensor& part, int src, int dimension, std::int64_t first,
                             std::int64_t count) {
  part.src[src] = view(part.src[src], dimension, first, count);
}

ggml_tensor* NodeCutter::view(ggml_tensor* tensor, int dimension, std::int64_t first, std::int64_t count) {
  for (const View& known : views_) {
    if (known.of == tensor && known.dimension == dimension && known.first == first && known.count == count)
      return known.made;
  }
  ggml_tensor& made = copy_(*tensor);
  made.ne[dimension] = count;
  made.data = static_cast<char*>(tensor->data) + static_cast<std::size_t>(first) * tensor->nb[dimension];
  views_.push_back({tensor, dimension, first, count, &made});
  return &made;
}

Bytes NodeCutter::bytes_per_shadow() {
  constexpr std::size_t kOverhead = 48;  // bytes for a deque's block, and for a list of pointers that grows
  return Bytes{sizeof(ggml_tensor) + kOverhead};
}

}  // namespace brimful::tier
