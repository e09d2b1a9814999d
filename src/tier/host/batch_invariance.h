#pragma once

#include <ggml.h>

#include <compare>
#include <cstdint>
#include <functional>
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
/// token at a time. Every other operation treats each row by itself. Where products with experts that a
/// router chose are not split, the number of tokens for which their kernel gives equal bits limits the graph.
/// A pass may come as several graphs: a device gets the parts of a pass one after the other, and the parts of
/// a pass of several tokens are compared with those of a pass of one token in the same order.
/// Threading: none.
class BatchInvariance {
 public:
  /// What differs between the devices that compute.
  struct Options {
    /// Whether products with chosen experts are split, too.
    bool splits_experts = false;
    /// Whether the number of rows of a weight has a part in the choice of its kernel.
    bool kernels_by_rows = false;
  };
  BatchInvariance() = default;
  explicit BatchInvariance(Options options) : options_(options) {}

  /// What decides which of ggml's kernels computes a product with a weight.
  struct Kernel {
    /// GGML_OP_MUL_MAT or GGML_OP_MUL_MAT_ID.
    ggml_op op = GGML_OP_MUL_MAT;
    ggml_type type = GGML_TYPE_F32;
    /// Number of values in a row of the weight.
    std::int64_t row_length = 0;
    bool repacked = false;
    /// Number of rows of the weight; 0 where it has no part in the choice.
    std::int64_t rows = 0;

    auto operator<=>(const Kernel&) const = default;
  };
  /// `repacked` says whether src[0] of the product has ggml-cpu's own layout.
  [[nodiscard]] Kernel kernel_of(const ggml_tensor& product, bool repacked) const {
    const ggml_tensor& weight = *product.src[0];
    return {product.op, weight.type, weight.ne[0], repacked, options_.kernels_by_rows ? weight.ne[1] : 0};
  }

  /// How a graph is split.
  struct Cuts {
    /// Number of tokens of the graph.
    std::int64_t tokens = 1;
    /// For each node of the graph: the dimension of its result that counts the tokens and along which the
    /// node is cut. 0: the node is computed as it is.
    std::vector<std::uint8_t> dimension;
  };

  /// Begins a pass: the next graph is its first part. The first pass after forget() is that of one token.
  void begin_pass();
  /// Remembers the next part of the pass of one token, to compare others with. Errors: kUnsupported where an
  /// operation is not known to treat each token by itself; nothing is remembered then.
  [[nodiscard]] Status learn(const ggml_cgraph& graph);
  /// Whether the pass of one token is known. From then on, parts are compared with it.
  [[nodiscard]] bool learned() const { return learned_; }
  void forget();

  /// Compares `graph`, the next part of a pass of several tokens, with the same part of the pass of one
  /// token. Errors: kUnsupported where the two do not have the same operations, or where a node cannot be
  /// cut.
  [[nodiscard]] Result<Cuts> match(const ggml_cgraph& graph);
  /// Whether the parts that were compared since begin_pass() are all that the pass of one token has.
  [[nodiscard]] bool matched() const { return at_ == one_.size(); }

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
  Options options_;
  // The operations of the pass of one token, without views. Empty until learn().
  std::vector<Operation> one_;
  bool learned_ = false;
  // Index into one_: the first operation of the next part.
  std::size_t at_ = 0;
  std::map<Kernel, std::int64_t> trusted_;
};

/// Makes the nodes that compute one node in stretches of tokens. Nodes that follow one another share their
/// views of an operand. Lives for the compilation of one graph.
class NodeCutter {
 public:
  /// Makes a copy of a tensor that keeps its address.
  using Copy = std::function<ggml_tensor&(const ggml_tensor&)>;
  /// `copy` makes the new nodes and views, which must live as long as the nodes are used. `split` must
  /// outlive the cutter.
  NodeCutter(const BatchInvariance& split, Copy copy) : split_(split), copy_(std::move(copy)) {}

  /// Appends to `out` the nodes that compute `node`: `node` itself where it need not be cut. `dimension` is
  /// the dimension of its result that counts the `tokens` tokens (0: it is not cut), and `repacked` describes
  /// the layout of its src[0].
  void cut(ggml_tensor* node, bool repacked, int dimension, std::int64_t tokens,
           std::vector<ggml_tensor*>& out);

  /// Appends to `out` the nodes that compute the first `tokens` tokens of `node`, `together` at once.
  /// Requires: `dimension` is not 0.
  void cut_first(ggml_tensor* node, int dimension, std::int64_t tokens, std::int64_t together,
                 std::vector<ggml_tensor*>& out);

  /// Heap bytes for each node or view that is made, at most.
  [[nodiscard]] static Bytes bytes_per_shadow();

 private:
  ggml_tensor* view(ggml_tensor* tensor, int dimension, std::int64_t first, std::int64_t count);
  void cut_operand(ggml_tensor& part, int src, int dimension, std::int64_t first, std::int64_t count);

  const BatchInvariance& split_;
  const Copy copy_;
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
