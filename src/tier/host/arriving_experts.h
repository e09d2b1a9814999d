#pragma once

#include <functional>
#include <span>
#include <utility>
#include <vector>

#include "tier/experts/expert_cache.h"
#include "tier/host/compiled_pass.h"

namespace brimful::tier {

/// Computes a segment of a step of one token while experts of the step are still being read. A product with
/// experts is cut into products with some of them: those that are in slots come first, the others as they
/// arrive. Each expert is computed by itself, so no bit of the result changes.
/// Threading: one thread at a time.
class ArrivingExperts {
 public:
  /// Nodes and views that one expert in one product takes, at most: the product, its ids, its input, and the
  /// rearranging of its rows.
  static constexpr std::size_t kShadows = 5;
  /// Memory for `products` products with one expert each, as GraphNeeds::expert_products counts them.
  [[nodiscard]] static Bytes bytes(std::uint64_t products) {
    return Bytes{products * kShadows * sizeof(ggml_tensor)};
  }

  /// `shadows` has room for the largest step. All arguments must outlive this object.
  ArrivingExperts(ExpertCache& experts, const WeightTable& table, const RepackedLayout& layout,
                  std::span<ggml_tensor> shadows)
      : experts_(experts), table_(table), layout_(layout), shadows_(shadows) {}

  /// Whether compute() can cut the segment's products and has room for that.
  [[nodiscard]] bool can_cut(const Segment& segment) const;

  struct Calls {
    /// Computes nodes, in their order.
    std::function<Status(std::span<ggml_tensor* const>)> compute;
    /// Waits for one more read. It is called only where nothing is left to compute without it.
    std::function<Status()> wait;
    /// Is called once all experts of the segment have arrived, before the last nodes are computed.
    std::function<void()> all_arrived;
  };
  /// Computes the segment, whose step the cache has begun. Errors: those of the calls. Requires:
  /// can_cut(segment), and the shadows of the segment's weights show the slots.
  [[nodiscard]] Status compute(const Segment& segment, const Calls& calls);

 private:
  // A product with one expert that has not arrived.
  struct Pending {
    ggml_tensor* node;
    std::uint32_t part;
    std::size_t position;
  };
  void add_arrived(ggml_tensor* node, std::uint32_t part);
  void add(ggml_tensor* node, std::size_t first, std::size_t count);
  void rearrange(std::uint32_t part, std::size_t position);
  [[nodiscard]] Status compute_ready(const Calls& calls);
  [[nodiscard]] Status compute_pending(const Calls& calls);
  ggml_tensor* shadow(const ggml_tensor& of);

  ExpertCache& experts_;
  const WeightTable& table_;
  const RepackedLayout& layout_;
  const std::span<ggml_tensor> shadows_;
  std::size_t made_ = 0;
  // What may be computed now, in this order.
  std::vector<ggml_tensor*> ready_;
  // Part and position of the rows that ready_ rearranges.
  std::vector<std::pair<std::uint32_t, std::size_t>> rearranged_;
  std::vector<Pending> pending_;
};

}  // namespace brimful::tier
