#pragma once

#include <ggml.h>

#include <cstdint>
#include <optional>
#include <span>

#include "base/result.h"

namespace brimful::tier {

class RowDevice;

/// A product of the host's graph of which a device multiplies some rows.
struct RowProduct {
  RowDevice* device = nullptr;
  /// The MUL_MAT node as libllama made it: its input, and its result with all rows, lie in host memory.
  ggml_tensor* node = nullptr;
  /// Index into ModelProfile::tensors.
  std::uint32_t weight = 0;
  /// The device multiplies the rows from this one on, the host those before.
  std::int64_t first_row = 0;
  /// Whether each column is to be multiplied as if it were the only one: for a pass that checks a draft.
  bool by_columns = false;
};

/// A device that multiplies some rows of the host's matrices, while the host multiplies the others. For each
/// graph with such products: begin(), then start() and finish() for each product, in the order of the graph,
/// then end(); or abandon() where the graph fails.
/// Threading: one thread at a time: the one that computes the host's graph.
class RowDevice {
 public:
  virtual ~RowDevice() = default;

  /// The first row of `weight` that this device multiplies for `node`. Unset where the host multiplies all
  /// rows. It depends on the plan and on the number of columns only.
  [[nodiscard]] virtual std::optional<std::int64_t> first_row(const ggml_tensor& node,
                                                              std::uint32_t weight) const = 0;
  /// Begins a graph with these products of this device; there is at least one. `products` stays valid as
  /// long as start() and finish() are called. Errors: those of starting to send weights.
  [[nodiscard]] virtual Status begin(std::span<const RowProduct> products) = 0;
  /// Tells that the input of product `i` has been computed. The device may begin with this product, and with
  /// the next ones that have the same input. Does not block for the link. Errors: kInternal where the device
  /// cannot compute.
  [[nodiscard]] virtual Status start(std::size_t i) = 0;
  /// Blocks until the device's rows of product `i` are in the node's result. Errors: those of sending;
  /// kInternal where the device cannot compute. Requires: start(i).
  [[nodiscard]] virtual Status finish(std::size_t i) = 0;
  /// Ends the graph. Requires: all products are finished.
  virtual void end() = 0;
  /// Ends a graph that failed, and does nothing if none has begun. Nothing is in flight afterwards.
  virtual void abandon() = 0;
};

}  // namespace brimful::tier
