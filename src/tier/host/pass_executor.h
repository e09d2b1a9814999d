#pragma once

#include <ggml-backend.h>

#include <chrono>
#include <functional>
#include <memory>
#include <optional>
#include <vector>

#include "memory/region.h"
#include "tier/experts/expert_cache.h"
#include "tier/host/compiled_pass.h"
#include "tier/host/compute_threads.h"
#include "tier/stream/pass_stream.h"

namespace brimful::tier {

class ArrivingExperts;
class ExpertGuesses;

struct PassStatistics {
  std::uint64_t passes = 0;
  /// Bytes that passes read from disk: streamed weights, gathered rows and experts.
  Bytes read;
  /// Time that the compute waited for the disk.
  std::chrono::nanoseconds stalled{0};
  /// Their reads are part of `read`.
  ExpertStatistics experts;

  PassStatistics& operator+=(const PassStatistics& other);
};

/// Executes graphs over placed weights: it waits for the streamed ones, hands each segment to the inner
/// device, and frees the slots behind it.
/// Threading: one graph at a time.
class PassExecutor {
 public:
  /// Number of embedding rows in flight: the reads are small, and only depth hides their latency.
  static constexpr std::size_t kRowReads = 16;

  /// The memory that the executor uses. It must outlive the executor.
  struct Memory {
    /// The ring, then the resident weights, as the placement says.
    std::byte* arena = nullptr;
    /// Memory for gathered rows, of staging_size bytes.
    std::byte* staging = nullptr;
    Bytes staging_size;
    /// For the products of a step whose experts are still being read, as ArrivingExperts::bytes says.
    std::span<ggml_tensor> expert_shadows = {};
  };

  /// Staging memory for a GET_ROWS of up to `rows` rows of `row_bytes` bytes: the rows, their ids, and blocks
  /// to read them through. 0 for no rows.
  [[nodiscard]] static Bytes staging_bytes(std::uint64_t rows, std::uint64_t row_bytes);

  /// `files`, `weights`, `table`, `layout`, `memory`, `trace` (may be null) and `threads` must outlive it.
  /// `row_reader` reads gathered rows. `experts` is a filled cache, or null where the placement has no expert
  /// groups.
  PassExecutor(const DiskFiles& files, const WeightBufferType& weights, const WeightTable& table,
               const RepackedLayout& layout, Memory memory, ReaderFactory make_reader,
               std::unique_ptr<DiskReader> row_reader, std::unique_ptr<ExpertCache> experts, Trace* trace,
               ComputeThreads& threads);
  ~PassExecutor();

  /// Computes the whole graph on `inner`. With `split` (may be null), each of its tokens is computed as if it
  /// were the only one.
  /// Errors: those of the reads; kIo when a model file was changed; kCancelled when the inner device was told
  /// to abort; kUnsupported as for CompiledPass::compile. The outputs are then undefined, and the next graph
  /// starts a new pass.
  [[nodiscard]] Status compute(ggml_backend_t inner, const ggml_cgraph& graph, BatchInvariance* split);

  /// Computes products with experts in the middle of another device's graph. `again` tells that they belong
  /// to the same choice of a router as the products before. Errors: as for compute().
  [[nodiscard]] Status multiply(ggml_backend_t inner, const ggml_cgraph& graph, bool again);

  /// Like ExpertCache::bring, for experts of the weights of one group, wherever they lie. `tensors` are the
  /// weights of the group.
  [[nodiscard]] Status bring(ggml_backend_t inner, std::span<const std::uint32_t> tensors,
                             std::span<const std::uint32_t> experts, const ExpertCache::TakeBytes& take);

  /// From now on, `device` multiplies some rows of products. It must outlive this, or keep_rows() comes
  /// before.
  void share_rows(RowDevice& device) { row_devices_.push_back(&device); }
  /// Ends that.
  void keep_rows(const RowDevice& device) { std::erase(row_devices_, &device); }

  /// As ExpertCache::heat(); empty where no experts have slots.
  [[nodiscard]] ExpertHeat expert_heat() const { return experts_ ? experts_->heat() : ExpertHeat{}; }

  /// As ExpertCache::loans(); null where no experts have slots.
  [[nodiscard]] ExpertLoans* expert_loans() const { return experts_ ? &experts_->loans() : nullptr; }

  [[nodiscard]] PassStatistics statistics() const;

 private:
  [[nodiscard]] Status run(ggml_backend_t inner, const ggml_cgraph& graph, BatchInvariance* split,
                           bool again = false);
  [[nodiscard]] Status run_pass(ggml_backend_t inner, const ggml_cgraph& graph, BatchInvariance* split);
  [[nodiscard]] Status checked(Status status);
  [[nodiscard]] Status run_segment(ggml_backend_t inner, const ggml_cgraph& graph, const Segment& segment);
  [[nodiscard]] Status execute(ggml_backend_t inner, const ggml_cgraph& graph,
                               std::span<ggml_tensor* const> nodes);
  [[nodiscard]] Status execute_stretch(ggml_backend_t inner, const ggml_cgraph& graph,
                                       std::span<ggml_tensor* const> nodes);
  [[nodiscard]] Status begin_step(const CompiledPass& program, std::size_t step, bool again);
  [[nodiscard]] Status wait_for_step(ggml_backend_t inner);
  [[nodiscard]] Status repack(ggml_backend_t inner, std::span<const FreshRows> fresh);
  [[nodiscard]] Status execute_in_slots(ggml_backend_t inner, const ggml_cgraph& graph,
                                        const Segment& segment);
  [[nodiscard]] Status execute_in_tiles(ggml_backend_t inner, const ggml_cgraph& graph,
                                        const Segment& segment);
  [[nodiscard]] Status gather(const Gather& gather);

  const DiskFiles& files_;
  const WeightBufferType& weights_;
  const WeightTable& table_;
  const RepackedLayout& layout_;
  const Memory memory_;
  const std::unique_ptr<DiskReader> row_reader_;
  const std::unique_ptr<ExpertCache> experts_;
  // Null where there are no experts.
  const std::unique_ptr<ArrivingExperts> arriving_;
  const std::unique_ptr<ExpertGuesses> guesses_;
  Trace* const trace_;
  ComputeThreads& threads_;
  PassStream stream_;
  std::vector<RowDevice*> row_devices_;
  std::chrono::nanoseconds expert_stalls_{0};
  std::uint64_t passes_ = 0;
  Bytes gathered_;
};

}  // namespace brimful::tier
