#pragma once

#include <functional>
#include <memory>
#include <optional>

#include "memory/pool.h"
#include "plan/graph_work.h"
#include "plan/placement.h"
#include "tier/host/compute_threads.h"
#include "tier/host/pass_executor.h"
#include "tier/weights/backend_device.h"
#include "tier/weights/host_buffer.h"
#include "tier/weights/weight_buffer.h"

namespace brimful::tier {

/// What the recorded graphs ask for, beside the buffers libllama allocates.
struct Needs {
  std::vector<plan::TensorUse> uses;
  Bytes work;            ///< the inner device's scratch memory
  Bytes staging;         ///< for gathered rows, and rows that are rearranged
  Bytes split;           ///< heap of the program of a graph that is computed token by token
  Bytes split_per_unit;  ///< and for each unit
  Bytes reader;          ///< stacks of the reader threads that are yet to start
};

class HostDevice;

struct DeviceOptions {
  int threads = 1;  ///< at most this many compute at once
  ReaderFactory make_reader;
  Trace* trace = nullptr;                     ///< outlives the device
  const HostDevice* share_threads = nullptr;  ///< computes with the threads of this one, which outlives it
  bool file_order = false;  ///< weights keep the file's order, so that they can be sent to other devices
};

/// A ggml device that computes like the CPU and keeps weights in tiers. Give handle() to libllama as the
/// model's only device and weight_buffer_type() as the type of all its weights. Then, in this order:
///   1. load the model, between begin_loading() and end_loading(), and create a context: nothing is read, no
///   memory spent; a graph computed now is only
///      recorded (its results are undefined);
///   2. needs(), host_buffers(): what the graphs seen so far ask for;
///   3. place(): memory is reserved and filled, resident weights are read; from now on graphs are computed;
///   4. for another budget: displace(), and from the context on again.
/// Threading: one thread at a time, as a llama_context. Lifetime: outlives model and context.
class HostDevice final : public BackendDevice {
 public:
  /// Errors: those of DiskFiles::open. `profile` and `pool` outlive the device.
  [[nodiscard]] static Result<std::unique_ptr<HostDevice>> create(const model::ModelProfile& profile,
                                                                  memory::Pool& pool, DeviceOptions options);
  ~HostDevice() override;

  [[nodiscard]] ggml_backend_buffer_type_t weight_buffer_type() { return weights_.handle(); }
  /// Attention and norms of so many tokens and more are another device's, as the products are that stand
  /// between them; 0: none are. For the graphs that libllama makes from now on.
  void leave_batches(std::int64_t tokens) { batches_elsewhere_ = tokens; }

  [[nodiscard]] const WeightTable& table() const { return table_; }
  [[nodiscard]] const WeightBufferType& weights() const { return weights_; }
  [[nodiscard]] const DiskFiles& files() const { return files_; }
  [[nodiscard]] const ReaderFactory& reader_factory() const { return options_.make_reader; }
  void begin_loading() { weights_.begin_loading(); }
  void end_loading(bool loaded) { weights_.end_loading(loaded); }
  [[nodiscard]] HostBufferType& host_buffers() { return host_; }

  /// While on, each token of a graph gets, bit for bit, what it would get in a graph of its own; otherwise
  /// ggml's kernels may sum in another order for several tokens than for one. What is to be computed so must
  /// have been recorded so: after learn_one_token() the graph of one token, then the largest one of several.
  /// That one fails with kUnsupported where its tokens cannot be kept apart.
  void learn_one_token();
  void token_by_token(bool on) { token_by_token_ = on; }
  /// The most tokens of a graph that is computed so: those of the one recorded, or fewer.
  [[nodiscard]] std::int64_t most_tokens() const { return most_tokens_; }

  [[nodiscard]] Needs needs() const;
  /// The first graph seen of each number of tokens.
  [[nodiscard]] const std::vector<plan::GraphWork>& recorded_work() const { return work_; }
  /// Forgets what was recorded, for another context.
  void forget_needs();

  /// Heap that a placement takes, at most: in the table, and in a pass's program.
  [[nodiscard]] plan::Bookkeeping bookkeeping() const;

  /// Called with the bytes read so far and the bytes to read; returning false cancels.
  using Progress = std::function<bool(Bytes done, Bytes total)>;

  /// Reserves and fills every buffer and the arena, and reads the resident weights, each byte once.
  /// Errors: kBudgetExceeded, kIo, kCancelled; the device cannot be used any more then.
  [[nodiscard]] Status place(plan::Placement placement, const Progress& progress);
  /// Gives all places of weights back. Graphs are recorded again, once a new context is made, for another
  /// place(). Errors: those of making a reader.
  [[nodiscard]] Status displace();

  [[nodiscard]] const plan::Placement& placement() const { return table_.placement(); }

  /// For another device's graph, while that is computed: products of experts that it lacks, and the experts.
  /// As PassExecutor's. Requires: the weights are placed, and a context lives.
  [[nodiscard]] Status multiply(const ggml_cgraph& graph, bool again) {
    threads_->prepare(stream_->inner, stream_->threads);
    return executor_->multiply(stream_->inner, graph, again);
  }
  [[nodiscard]] Status bring(std::span<const std::uint32_t> tensors, std::span<const std::uint32_t> experts,
                             const ExpertCache::TakeBytes& take) {
    return executor_->bring(tensors, experts, take);
  }

  [[nodiscard]] PassStatistics statistics() const;
  /// The threads that compute, shared with the devices of DeviceOptions::share_threads.
  [[nodiscard]] ComputeThreads& threads() const { return *threads_; }
  [[nodiscard]] Bytes loaded() const { return loaded_; }

 private:
  HostDevice(const model::ModelProfile& profile, memory::Pool& pool, ggml_backend_dev_t cpu,
             DeviceOptions options, DiskFiles files);

  [[nodiscard]] const char* name() const override { return "Brimful"; }
  [[nodiscard]] ggml_backend_buffer_type_t buffer_type() override { return host_.handle(); }
  [[nodiscard]] ggml_backend_buffer_type_t host_buffer_type() override { return host_.handle(); }
  [[nodiscard]] bool supports_op(const ggml_tensor& op) const override;
  [[nodiscard]] bool supports_buffer_type(ggml_backend_buffer_type_t type) const override;
  void started(Stream& stream) override;
  void ended(Stream& stream) override;
  void set_threads(Stream& stream, int threads) override;
  void set_abort_callback(Stream& stream, ggml_abort_callback callback, void* data) override;
  [[nodiscard]] Status compute(const Stream& stream, ggml_cgraph& graph) override;

  void record(int threads, const ggml_cgraph& graph);
  [[nodiscard]] Status record_token_by_token(ggml_backend_t inner, const ggml_cgraph& graph);
  [[nodiscard]] Bytes gather_staging() const;
  [[nodiscard]] Bytes repack_scratch() const;
  [[nodiscard]] Bytes expert_ids() const;
  /// Whether `op` is of a batch that other devices compute.
  [[nodiscard]] bool leaves(const ggml_tensor& op) const;
  /// Everything that has a place; the experts' account, where they have one.
  [[nodiscard]] Result<std::unique_ptr<ExpertCache>> read_weights(const Progress& progress);
  [[nodiscard]] Status read_residents(const std::function<bool(Bytes)>& more);

  const model::ModelProfile& profile_;
  const DeviceOptions options_;
  const DiskFiles files_;
  const Stream* stream_ = nullptr;               // of the newest context
  std::unique_ptr<ComputeThreads> own_threads_;  // null where they are another device's
  ComputeThreads* threads_ = nullptr;
  std::int64_t batches_elsewhere_ = 0;
  HostBufferType host_;
  WeightBufferType weights_;

  std::unique_ptr<RepackedLayout> layout_;
  GraphNeeds recorded_;
  std::vector<plan::GraphWork> work_;
  std::uint64_t work_bytes_ = 0;

  bool token_by_token_ = false;
  BatchInvariance split_;
  std::int64_t most_tokens_ = 1;
  Bytes split_bytes_;           // heap of the largest program that is taken apart
  Bytes split_bytes_per_unit_;  // and what each unit of a matrix adds

  WeightTable table_;
  memory::Region arena_;
  memory::Region staging_;
  std::vector<memory::Reservation> reservations_;
  std::unique_ptr<DiskReader> row_reader_;  // until the executor takes it
  bool recording_ = true;
  std::unique_ptr<PassExecutor> executor_;
  Bytes loaded_;
  PassStatistics past_;  // of executors before
};

}  // namespace brimful::tier
