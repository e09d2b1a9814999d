#pragma once

#include <ggml-backend-impl.h>

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

/// Takes a graph of several tokens apart so that each token gets the bits that it gets in a graph of its own.
/// ggml's kernels sum in another order for several tokens than for one, where that is faster. So matrix
/// products are computed for as many tokens at once as are known to make no difference, attention for one;
/// every other operation treats each row by itself. A product with chosen experts is not taken apart: how
/// many tokens it allows bounds the graph.
/// Threading: none.
class BatchInvariance {
 public:
  /// What decides which of ggml's kernels computes a product with a weight.
  struct Kernel {
    ggml_op op = GGML_OP_MUL_MAT;  ///< or MUL_MAT_ID
    ggml_type type = GGML_TYPE_F32;
    std::int64_t row_length = 0;
    bool repacked = false;

    auto operator<=>(const Kernel&) const = default;
  };
  [[nodiscard]] static Kernel kernel_of(const ggml_tensor& product, bool repacked) {
    return {product.op, product.src[0]->type, product.src[0]->ne[0], repacked};
  }

  /// Which dimension of each node's result counts the tokens, where the node must be taken apart.
  struct Cuts {
    std::int64_t tokens = 1;
    std::vector<std::int8_t> dimension;  ///< by node; 0: computed as it is
  };

  /// Remembers the graph of one token.
  /// Errors: kUnsupported: an operation that is not known to keep tokens apart.
  [[nodiscard]] Status learn(const ggml_cgraph& graph);
  [[nodiscard]] bool learned() const { return !one_.empty(); }
  void forget() { one_.clear(); }

  /// Compares `graph`, of several tokens, with that of one.
  /// Errors: kUnsupported where they are not the same operations on so many tokens.
  [[nodiscard]] Result<Cuts> match(const ggml_cgraph& graph) const;

  /// The kernel gives equal bits for up to so many tokens at once.
  void trust(const Kernel& kernel, std::int64_t tokens) { trusted_[kernel] = tokens; }
  [[nodiscard]] std::optional<std::int64_t> trusted(const Kernel& kernel) const;

  /// How many tokens `node` may compute at once. `repacked`: the layout of its src[0].
  [[nodiscard]] std::int64_t together(const ggml_tensor& node, bool repacked) const;
  /// Into how many stretches `node` is cut when its result counts so many tokens; 1: it stays as it is.
  [[nodiscard]] std::uint64_t stretches(const ggml_tensor& node, bool repacked, std::int64_t tokens) const;

 private:
  struct Operation {
    ggml_op op;
    std::int64_t ne[GGML_MAX_DIMS];
  };
  std::vector<Operation> one_;  // of the graph of one token, without views
  std::map<Kernel, std::int64_t> trusted_;
};

/// Makes the nodes that compute one node in stretches of tokens.
/// Views of an operand are shared by the nodes that follow one another.
class NodeCutter {
 public:
  /// `shadows`: where the nodes are made; addresses stay.
  NodeCutter(const BatchInvariance& split, std::deque<ggml_tensor>& shadows)
      : split_(split), shadows_(shadows) {}

  /// Appends what computes `node`, whose result counts `tokens` in `dimension`, to `out`.
  /// `repacked`: the layout of its src[0].
  void cut(ggml_tensor* node, bool repacked, int dimension, std::int64_t tokens,
           std::vector<ggml_tensor*>& out);

  /// Heap for each node or view that is made, at most.
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
  const ggml_tensor* operand_ = nullptr;  // cut last
  std::vector<View> views_;               // of it, and of what was cut beside it
};

}  // namespace brimful::tier
