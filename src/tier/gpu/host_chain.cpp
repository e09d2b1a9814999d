#include "tier/gpu/host_chain.h"

#include <algorithm>

#include "tier/host/graph_nodes.h"

namespace brimful::tier {
namespace {

/// Whether a view has whole rows of what it shows, in the same order.
bool has_the_same_rows(const ggml_tensor& view) {
  const ggml_tensor& root = *view.view_src;
  return view.ne[0] == root.ne[0] && ggml_nelements(&view) == ggml_nelements(&root) && view.view_offs == 0 &&
         ggml_is_contiguous(&view) && ggml_is_contiguous(&root);
}

/// Whether the operation makes each row from the same row of its operands.
bool is_by_rows(const ggml_tensor& node) {
  switch (node.op) {
    case GGML_OP_GLU:
    case GGML_OP_UNARY:
    case GGML_OP_SCALE:
    case GGML_OP_SQR:
    case GGML_OP_CLAMP: return true;
    case GGML_OP_ADD:
    case GGML_OP_MUL: return ggml_are_same_shape(node.src[0], node.src[1]);
    case GGML_OP_ADD_ID: return node.src[1]->type == GGML_TYPE_F32 && ggml_is_contiguous(node.src[1]);
    default: return false;
  }
}

class Finder {
 public:
  Finder(std::span<ggml_tensor* const> nodes, std::span<const ggml_tensor* const> products)
      : nodes_(nodes), products_(products) {}

  std::vector<const ggml_tensor*> find() {
    const ggml_tensor* const input = shown_by(products_.front()->src[1]);
    const auto first = std::ranges::find(nodes_, products_.front());
    const auto last = std::ranges::find(nodes_, products_.back());
    if (std::find_if(nodes_.begin(), last, [&](const ggml_tensor* node) { return node == input; }) != last)
      return {};  // the device may still be computing it
    for (auto at = first; at != nodes_.end(); ++at) {
      const bool behind = at > last;
      const bool joins = !behind && belongs(**at, input);
      if (joins) {
        chain_.push_back(*at);
      } else if (uses_chain(**at, behind ? products_.back() : nullptr)) {
        return {};
      }
    }
    return leads_to(products_.back()) ? chain_ : std::vector<const ggml_tensor*>{};
  }

 private:
  [[nodiscard]] bool is_product(const ggml_tensor* node) const {
    return std::ranges::find(products_, node) != products_.end();
  }
  /// Whether the chain ends with `last`, and all before it is needed for what is behind it.
  [[nodiscard]] bool leads_to(const ggml_tensor* last) const {
    const auto is_used = [&](const ggml_tensor* node) {
      return std::ranges::any_of(chain_, [&](const ggml_tensor* user) {
        return std::ranges::any_of(user->src, [&](const ggml_tensor* source) {
          return source != nullptr && shown_by(source) == node;
        });
      });
    };
    return chain_.back() == last && std::all_of(chain_.begin(), chain_.end() - 1, is_used);
  }
  [[nodiscard]] bool in_chain(const ggml_tensor* tensor) const {
    return tensor != nullptr && std::ranges::find(chain_, shown_by(tensor)) != chain_.end();
  }
  [[nodiscard]] bool belongs(const ggml_tensor& node, const ggml_tensor* input) const {
    if (is_product(&node)) return shown_by(node.src[1]) == input || in_chain(node.src[1]);
    if (node.type != GGML_TYPE_F32 || computes_nothing(&node) || !is_by_rows(node) || !in_chain(node.src[0]))
      return false;
    if (node.op == GGML_OP_ADD_ID) return !in_chain(node.src[1]);
    return node.src[1] == nullptr || in_chain(node.src[1]);
  }
  /// Whether the node needs rows of the chain other than those of `except`. A view needs none itself.
  [[nodiscard]] bool uses_chain(const ggml_tensor& node, const ggml_tensor* except) const {
    if (computes_nothing(&node))
      return node.view_src != nullptr && !has_the_same_rows(node) && in_chain(node.view_src) &&
             shown_by(node.view_src) != except;
    return std::ranges::any_of(
        node.src, [&](const ggml_tensor* source) { return in_chain(source) && shown_by(source) != except; });
  }

  std::span<ggml_tensor* const> nodes_;
  std::span<const ggml_tensor* const> products_;
  std::vector<const ggml_tensor*> chain_;
};

}  // namespace

const ggml_tensor* shown_by(const ggml_tensor* tensor) {
  return tensor->view_src != nullptr && computes_nothing(tensor) && has_the_same_rows(*tensor)
             ? tensor->view_src
             : tensor;
}

std::vector<const ggml_tensor*> find_host_chain(std::span<ggml_tensor* const> nodes,
                                                std::span<const ggml_tensor* const> products) {
  return Finder(nodes, products).find();
}

}  // namespace brimful::tier
