#pragma once

#include <chrono>
#include <functional>
#include <memory>
#include <span>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "hardware/profile.h"
#include "memory/region.h"
#include "tier/layout/repacked_layout.h"

struct ggml_threadpool;

namespace brimful::probe {

/// Measures the speed of ggml's CPU kernels. The operands are made up; layouts and number of threads are
/// those with which a model is computed. Threading: one thread at a time. Holds: its weights and kOperands.
class KernelBench {
 public:
  static constexpr Bytes kWeights = Bytes{320} * kMiB.value;   ///< Larger than the CPU's caches.
  static constexpr Bytes kOperands = Bytes{192} * kMiB.value;  ///< For operands and results.

  /// Starts ggml's CPU device with `threads` threads. `weights`: the memory for weights, 64 MiB or more; they
  /// are read from the CPU's caches where it is less than kWeights. Errors: kInternal; kBudgetExceeded when
  /// there is not enough memory.
  [[nodiscard]] static Result<std::unique_ptr<KernelBench>> create(int threads, Bytes weights = kWeights);
  ~KernelBench();
  KernelBench(const KernelBench&) = delete;
  KernelBench& operator=(const KernelBench&) = delete;

  /// Measures all rates of products with weights of `type`. `each` is the least time of a single
  /// measurement.
  /// Blocks: about eight times `each`, or ten times where ggml repacks the type.
  [[nodiscard]] Result<hardware::KernelRate> measure(ggml_type type, std::chrono::milliseconds each);
  /// Measures everything in `compute` except `kernels` and `share_beside_reads`.
  [[nodiscard]] Status measure_rest(hardware::Compute& compute);
  /// Computes products of one token with weights of `type` until `go_on` returns false. Returns the rate in
  /// bytes of weights per second.
  [[nodiscard]] Result<double> decode_while(ggml_type type, const std::function<bool()>& go_on);

 private:
  class Graph;
  struct Products;
  KernelBench(int threads, Bytes weights, memory::Region region);
  void fill(ggml_type type, std::int64_t row, Bytes bytes);
  [[nodiscard]] Result<Products> products(ggml_type type, std::int64_t matrices, std::int64_t columns,
                                          std::int64_t row, bool file_order = false);
  [[nodiscard]] double turn_back_rate(ggml_type type);
  struct Experts {
    std::int64_t experts;
    std::int64_t used;  ///< The number of experts that one token uses.
    std::int64_t tokens;
    std::int64_t nodes;  ///< The number of graph nodes, one for each layer.
  };
  // These two return multiply-adds per second.
  [[nodiscard]] Result<double> expert_rate(ggml_type type, const Experts& shape);
  [[nodiscard]] Result<double> attention_rate(ggml_type cache, std::int64_t head, std::int64_t tokens);
  [[nodiscard]] Result<hardware::Attention> attention(ggml_type cache);
  [[nodiscard]] Result<std::vector<double>> seconds(std::span<const Graph* const> graphs) const;
  [[nodiscard]] Result<double> seconds(const Graph& graph) const;

  const int threads_;
  const Bytes weights_;
  memory::Region region_;
  ggml_threadpool* pool_ = nullptr;
  ggml_backend_t backend_ = nullptr;
  std::unique_ptr<tier::RepackedLayout> layout_;
  std::chrono::milliseconds each_{120};  // The least time of a measurement.
};

}  // namespace brimful::probe
