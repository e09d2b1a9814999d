#pragma once

#include <ggml-backend-impl.h>

#include <cstdint>
#include <deque>
#include <map>
#include <optional>
#include <utility>
#include <vector>

#include "base/bytes.h"
#include "base/result.h"

namespace strata::tier {

/// Takes a graph of several tokens apart so that each token gets the bits that it gets in a graph of its own.
/// ggml's kernels sum in another order for several tokens than for one, where that is faster. So matrix
/// products are computed for as many tokens at once as are known to make no difference, attention for one;
/// every other operation treats each row by itself.
/// Threading: none.
class TokenSplit {
 public:
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

  /// The kernel for rows of this type and length gives equal bits for up to `columns` tokens at once.
  void trust(ggml_type type, std::int64_t row_length, std::int64_t columns) {
    trusted_[{type, row_length}] = columns;
  }
  [[nodiscard]] bool knows(ggml_type type, std::int64_t row_length) const {
    return trusted_.contains({type, row_length});
  }
  /// How many tokens `node` may compute at once.
  [[nodiscard]] std::int64_t together(const ggml_tensor& node) const;
  /// Into how many stretches `node` is cut when its result counts so many tokens; 1: it stays as it is.
  [[nodiscard]] std::uint64_t stretches(const ggml_tensor& node, std::int64_t tokens) const;

 private:
  struct Operation {
    ggml_op op;
    std::int64_t ne[GGML_MAX_DIMS];
  };
  std::vector<Operation> one_;  // of the graph of one token, without views
  std::map<std::pair<ggml_type, std::int64_t>, std::int64_t> trusted_;
};

/// Makes the nodes that compute one node in stretches of tokens.
/// Views of an operand are shared by the nodes that follow one another.
class NodeCutter {
 public:
  /// `shadows`: where the nodes are made; addresses stay.
  NodeCutter(const TokenSplit& split, std::deque<ggml_tensor>& shadows) : split_(split), shadows_(shadows) {}

  /// Appends what computes `node`, whose result counts `tokens` in `dimension`, to `out`.
  void cut(ggml_tensor* node, int dimension, std::int64_t tokens, std::vector<ggml_tensor*>& out);

  /// Heap for each node or view that is made, at most.
  [[nodiscard]] static Bytes bytes_per_shadow();

 private:
  ggml_tensor* view(ggml_tensor* tensor, int dimension, std::int64_t first, std::int64_t count);
  void cut_operand(ggml_tensor& part, int src, int dimension, std::int64_t first, std::int64_t count);

  const TokenSplit& split_;
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

}  // namespace strata::tier
