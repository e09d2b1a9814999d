#pragma once

#include <ggml-backend.h>

#include <cstdint>
#include <deque>
#include <map>
#include <span>
#include <vector>

#include "base/bytes.h"
#include "base/result.h"
#include "tier/host/batch_invariance.h"

namespace brimful::tier {

/// A product of a graph that is cut by tokens. Its operands lie in the device's memory.
struct CutProduct {
  ggml_tensor* node = nullptr;
  /// The dimension of the result that counts the tokens.
  int dimension = 0;
};

/// What a device needs so that each token of a pass gets the bits that it gets in a pass of its own. As on
/// the host, products are computed for as many tokens at once as make no difference (BatchInvariance). How
/// many these are is measured with the weights in their places: measure(). Whether that is enough is checked
/// with whole passes: the digests of a pass of several tokens must be those of passes of one. Threading: one
/// thread at a time: the one that computes on the device.
class SingleColumns {
 public:
  /// Begins a pass whose tokens are kept apart, or ends it. As HostDevice::token_by_token().
  void begin_pass(bool on);
  [[nodiscard]] bool on() const { return on_; }
  /// Forgets what was recorded, for another context.
  void forget();

  /// Records the next part of a pass: the first pass is that of one token, the second one has several. Counts
  /// the memory that its copies of nodes take. Errors: those of BatchInvariance::learn() and match().
  [[nodiscard]] Status record(const ggml_cgraph& graph);
  /// Whether the passes had the same parts.
  [[nodiscard]] bool matched() const { return split_.matched(); }
  /// Heap bytes of the copies of nodes for passes of these numbers of tokens, where no product can be
  /// computed for several tokens at once, and of the checks. Nothing where no pass was recorded.
  [[nodiscard]] Bytes bytes(std::span<const std::uint32_t> tokens) const;

  /// How the next part of the pass is cut. Errors: kUnsupported for a part that was not recorded.
  [[nodiscard]] Result<BatchInvariance::Cuts> match(const ggml_cgraph& graph) { return split_.match(graph); }
  [[nodiscard]] const BatchInvariance& split() const { return split_; }
  /// Begins to hand out copies of nodes for the next part of a pass of `tokens` tokens. The copies of a pass
  /// have the same addresses in each pass of so many tokens, because a back end that records graphs (CUDA's)
  /// compares addresses. Requires: the pass of so many tokens before is not computed any more.
  void begin_copies(std::int64_t tokens);
  [[nodiscard]] ggml_tensor& copy(const ggml_tensor& of);

  /// While this is on, the parts of a pass are measured and not computed.
  void measure_kernels(bool on) { measures_ = on; }
  [[nodiscard]] bool measures() const { return measures_; }
  /// Finds for each kernel of `products` how many tokens it may compute at once, unless that is known.
  /// Overwrites the operands and the results. Blocks until `queue` has computed. Errors: kInternal where a
  /// back end fails.
  [[nodiscard]] Status measure(ggml_backend_t queue, const ggml_cgraph& graph,
                               std::span<const CutProduct> products, std::int64_t tokens);

  /// While this is more than 0, the parts of passes of so many tokens are digested.
  void digest_passes(std::int64_t tokens) { digested_tokens_ = tokens; }
  /// Adds the last result of a part that was computed.
  void digest(const ggml_cgraph& graph);
  /// A number for each token of the passes that were digested since the last call.
  [[nodiscard]] std::vector<std::uint64_t> take_digests();

 private:
  struct Copies {
    // A deque: elements keep their addresses.
    std::deque<ggml_tensor> tensors;
    std::size_t used = 0;
  };

  BatchInvariance split_{{.splits_experts = true, .kernels_by_rows = true}};
  bool on_ = false;
  bool recorded_ = false;
  // Copies of nodes for each token of a pass, at most.
  std::size_t copies_per_token_ = 0;
  std::map<std::int64_t, Copies> copies_;
  Copies* next_ = nullptr;
  bool measures_ = false;
  std::int64_t digested_tokens_ = 0;
  std::vector<std::uint64_t> digests_;
};

}  // namespace brimful::tier
