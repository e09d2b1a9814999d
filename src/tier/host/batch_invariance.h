#pragma once

#include <ggml.h>

#include <compare>
#include <cstdint>
#include <deque>
#include <map>
#include <optional>
#include <utility>
#include <vector>

#include "base/bytes.h"
#include "base/result.h"

namespace brimful::tier {

/// Splits a graph of several tokens so that each token gets the bits that it would get in a graph of its own.
/// ggml's kernels sum in another order for several tokens than for one, where that is faster. So a matrix
/// product is computed for as many tokens at once as are known to make no difference, and attention for one
/// token at a time. Every other operation treats each row by itself. A product with experts that a router
/// chose is not split: the number of tokens for which its kernel gives equal bits limits the graph.
/// Threading: none.
class BatchInvariance {
 public:
  /// What decides which of ggml's kernels computes a product with a weight.
  struct Kernel {
    /// GGML_OP_MUL_MAT or GGML_OP_MUL_MAT_ID.
    ggml_op op = GGML_OP_MUL_MAT;
    ggml_type type = GGML_TYPE_F32;
    /// Number of values in a row of the weight.
    std::int64_t row_length = 0;
    bool repacked = false;

    auto operator<=>(const Kernel&) const = default;
  };
  /// `repacked` says whether src[0] of the product has ggml-cpu's own layout.
  [[nodiscard]] static Kernel kernel_of(const ggml_tensor& product, bool repacked) {
    return {product.op, product.src[0]->type, product.src[0]->ne[0], repacked};
  }

  /// How a graph is split.
  struct Cuts {
    /// Number of tokens of the graph.
    std::int64_t tokens = 1;
    /// For each node of the graph: the dimension of its result that counts the tokens and along which the
    /// node is cut. 0: the node is computed as it is.
    std::vector<std::uint8_t> dimension;
  };

  /// Remembers the graph of one token, to compare others with. Errors: kUnsupported where an operation is not
  /// known to treat each token by itself; nothing is remembered then.
  [[nodiscard]] Status learn(const ggml_cgraph& graph);
  [[nodiscard]] bool learned() const { return !one_.empty(); }
  void forget() { one_.clear(); }

  /// Compares `graph`, which has several tokens, with the graph of one token. Errors: kUnsupported where the
  /// two do not have the same operations, or where a node cannot be cut.
  [[nodiscard]] Result<Cuts> match(const ggml_cgraph& graph) const;

  /// Notes that the kernel gives equal bits for up to `tokens` tokens at once.
  void trust(const Kernel& kernel, std::int64_t tokens) { trusted_[kernel] = tokens; }
  /// The number of tokens that trust() noted for the kernel. Unset if it noted none.
  [[nodiscard]] std::optional<std::int64_t> trusted(const Kernel& kernel) const;

  /// The number of tokens that `node` may compute at once, at least 1. `repacked` describes the layout of its
  /// src[0].
  [[nodiscard]] std::int64_t together(const ggml_tensor& node, bool repacked) const;
  /// The number of nodes that `node` is cut into when its result has `tokens` tokens. 1: it stays as it is.
  [[nodiscard]] std::uint64_t stretches(const ggml_tensor& node, bool repacked, std::int64_t tokens) const;

 private:
  struct Operation {
    ggml_op op;
    std::int64_t ne[GGML_MAX_DIMS];
  };
  // The operations of the graph of one token, without views. Empty until learn().
  std::vector<Operation> one_;
  std::map<Kernel, std::int64_t> trusted_;
};

/// Makes the nodes that compute one node in stretches of tokens. Nodes that follow one another share their
/// views of an operand. Lives for the compilation of one graph.
class NodeCutter {
 public:
  /// The new nodes and views are added to `shadows`, whose elements keep their addresses. Both arguments must
  /// outlive the cutter, and `shadows` the nodes.
  NodeCutter(const BatchInvariance& split, std::deque<ggml_tensor>& shadows)
      : split_(split), shadows_(shadows) {}

  /// Appends to `out` the nodes that compute `node`: `node` itself where it need not be cut. `dimension` is
  /// the dimension of its result that counts the `tokens` tokens (0: it is not cut), and `repacked` describes
  /// the layout of its src[0].
  void cut(ggml_tensor* node, bool repacked, int dimension, std::int64_t tokens,
           std::vector<ggml_tensor*>& out);

  /// Heap bytes for each node or view that is made, at most.
  [[nodiscard]] static Bytes bytes_per_shadow();

 private:
  ggml_tensor* view(ggml_tensor* tensor, int dimension, std::int64_t first, std::int64_t count);
  void cut_operand(ggml_tensor& part, int src, int dimension, std::int64_t first, std::int64_t count);

  const BatchInvariance& split_;
  std::deque<ggml_tensor>& shadows_;
  struct View {
    const ggml_tensor* of;
    int dimension;
    std::int64_t first;
    std::int64_t count;
    ggml_tensor* made;
  };
  // The operand that was cut last.
  const ggml_tensor* operand_ = nullptr;
  // Views of `operand_`, and of what was cut beside it.
  std::vector<View> views_;
};

}  // namespace brimful::tier
