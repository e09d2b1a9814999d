#pragma once

#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <set>

#include "memory/pool.h"
#include "plan/graph_work.h"
#include "plan/placement.h"
#include "tier/host/compute_threads.h"
#include "tier/host/pass_executor.h"
#include "tier/weights/backend_device.h"
#include "tier/weights/host_buffer.h"
#include "tier/weights/weight_buffer.h"

namespace brimful::tier {

/// What the recorded graphs need beside the buffers that libllama allocates.
struct Needs {
  /// In the order of first use.
  std::vector<plan::TensorUse> uses;
  /// Scratch memory of the inner device.
  Bytes work;
  /// Memory for gathered rows, ids of experts, products with single experts, and rows that are rearranged.
  Bytes staging;
  /// Heap of the compiled pass of a graph that is computed token by token.
  Bytes split;
  /// Heap that each unit adds to that.
  Bytes split_per_unit;
  /// Stacks of the reader threads that are started later.
  Bytes reader;
};

class HostDevice;

struct DeviceOptions {
  /// Largest number of threads that compute at once.
  int threads = 1;
  /// Makes the readers of model files. Empty: direct reads, with io_uring where the kernel allows it.
  ReaderFactory make_reader;
  /// Records what happens, if it is not null. It must outlive the device.
  Trace* trace = nullptr;
  /// The device computes with the threads of this one, which must outlive it. Null: with threads of its own.
  const HostDevice* share_threads = nullptr;
  /// Whether weights are sent to other devices, as they are in the file. Those of types whose layout cannot
  /// be turned back keep the file's then.
  bool sends = false;
  /// Types of weights that keep the file's layout in any case.
  std::vector<ggml_type> in_file_order;
};

/// A ggml device that computes as the CPU does and keeps weights in tiers. Give handle() to libllama as the
/// last of the model's devices (GpuDevices come before it), and weight_buffer_type() as the type of all its
/// weights. Then, in this order:
///   1. load the model, between begin_loading() and end_loading(), and create a context: nothing is read, and
///      no memory is spent. A graph that is computed now is only recorded (its results are undefined);
///   2. needs() and host_buffers() tell what the graphs so far need;
///   3. place(): memory is reserved and filled, and the resident weights are read. From now on graphs are
///      computed;
///   4. for another budget: displace(), and again from the context on.
/// Threading: one thread at a time, like a llama_context. Lifetime: it must outlive the model and the
/// context.
class HostDevice final : public BackendDevice {
 public:
  /// `profile` and `pool` must outlive the device. Errors: those of DiskFiles::open, of making a reader, and
  /// of ComputeThreads::create.
  [[nodiscard]] static Result<std::unique_ptr<HostDevice>> create(const model::ModelProfile& profile,
                                                                  memory::Pool& pool, DeviceOptions options);
  ~HostDevice() override;

  [[nodiscard]] ggml_backend_buffer_type_t weight_buffer_type() { return weights_.handle(); }
  /// Which attention another device computes. The cells that it needs cross the link.
  enum class Attention {
    kNone,
    /// That of passes in which a sequence has more than one token.
    kOfPrompts,
    kAll,
  };
  /// What is left to another device, which also computes the products between.
  struct Elsewhere {
    /// The norms and the attention of so many tokens or more. 0: nothing.
    std::int64_t tokens = 0;
    Attention attention = Attention::kAll;
  };
  /// This holds for the graphs that libllama makes from now on.
  void leave_batches(Elsewhere what) { elsewhere_ = what; }
  /// How much experts were used in earlier starts. place() takes the most used ones to slots first.
  void set_expert_heat(ExpertHeat heat) { heat_ = std::move(heat); }
  /// How much experts were used until now, that included. Empty where no experts have slots.
  [[nodiscard]] ExpertHeat expert_heat() const { return executor_ ? executor_->expert_heat() : ExpertHeat{}; }
  /// Sets the layers whose products are computed elsewhere although their KV cache lies here. Their norms are
  /// left to the devices that compute the products.
  void leave_norms_of(std::set<int> layers) { norms_elsewhere_ = std::move(layers); }
  /// Sets the number of sequences that the next graphs compute. At first it is 1.
  void set_sequences(std::int64_t sequences) { sequences_ = sequences; }
  /// Whether another device computes `op`, because it belongs to a large batch, or to a layer of
  /// leave_norms_of().
  [[nodiscard]] bool leaves(const ggml_tensor& op) const;

  [[nodiscard]] const WeightTable& table() const { return table_; }
  [[nodiscard]] const WeightBufferType& weights() const { return weights_; }
  [[nodiscard]] const DiskFiles& files() const { return files_; }
  [[nodiscard]] const ReaderFactory& reader_factory() const { return options_.make_reader; }
  /// As WeightBufferType's functions of the same names.
  void begin_loading() { weights_.begin_loading(); }
  void end_loading(bool loaded) { weights_.end_loading(loaded); }
  [[nodiscard]] HostBufferType& host_buffers() { return host_; }

  /// Forgets the graphs that were recorded token by token. Call it before the two graphs that
  /// token_by_token() needs are recorded.
  void learn_one_token();
  /// While this is on, each token of a graph gets, bit for bit, what it would get in a graph of its own.
  /// Otherwise ggml's kernels may sum in another order for several tokens than for one.
  /// A pass that is computed in this way must have been recorded in this way: after learn_one_token(), first
  /// the pass of one token, then the largest pass of several tokens. Recording the second one fails with
  /// kUnsupported where its tokens cannot be kept apart. Switching it on begins a pass, which may come as
  /// several graphs.
  void token_by_token(bool on) {
    token_by_token_ = on;
    if (on) split_.begin_pass();
  }
  /// Whether the graphs of the pass of several tokens were as many as those of the pass of one token.
  [[nodiscard]] bool matched() const { return split_.matched(); }
  /// The largest number of tokens of a pass that can be computed token by token, as far as the kernels of the
  /// recorded pass limit it.
  [[nodiscard]] std::int64_t most_tokens() const { return most_tokens_; }

  /// While this is on, recorded graphs are those of drafts: their needs are added to those of the others, and
  /// the weights that they use as a whole are marked (plan::TensorUse::for_drafts). In which layout the other
  /// graphs' weights lie does not depend on them.
  void record_drafts(bool on) { records_drafts_ = on; }

  /// While this is on, graphs are not computed. Their results are fixed numbers, the same for each token, and
  /// no weight is read. It serves to compute what devices do in a pass without the host's part.
  void pretend_results(bool on) { pretends_ = on; }

  /// The needs of all graphs recorded since the last forget_needs().
  [[nodiscard]] Needs needs() const;
  /// The work of the first recorded graph for each number of tokens.
  [[nodiscard]] const std::vector<plan::GraphWork>& recorded_work() const { return work_; }
  /// Forgets what was recorded, for another context.
  void forget_needs();

  /// Heap bytes that a placement takes, at most, in the table and in a compiled pass.
  [[nodiscard]] plan::Bookkeeping bookkeeping() const;

  /// Is called with the bytes read so far and the bytes to read. Returning false cancels.
  using Progress = std::function<bool(Bytes done, Bytes total)>;

  /// Reserves and fills every buffer and the arena, and reads the resident weights and the slots of experts,
  /// each byte once. `progress` may be empty.
  /// Errors: kBudgetExceeded, kIo, kCancelled. The device cannot be used any more then.
  [[nodiscard]] Status place(plan::Placement placement, const Progress& progress);
  /// Gives back the places of all weights. Once a new context is made, graphs are recorded again, for another
  /// place(). Errors: those of making a reader.
  [[nodiscard]] Status displace();

  [[nodiscard]] const plan::Placement& placement() const { return table_.placement(); }

  /// For another device, while it computes a graph: products with experts that it lacks, and the bytes of
  /// experts. As PassExecutor's functions of the same names. Requires: the weights are placed, and a context
  /// lives.
  [[nodiscard]] Status multiply(const ggml_cgraph& graph, bool again) {
    threads_->prepare(stream_->inner, stream_->threads);
    return executor_->multiply(stream_->inner, graph, again);
  }
  /// Whether the bytes that bring() hands out, of so many experts of this weight, stay in their place until
  /// the group's next step.
  [[nodiscard]] bool keeps_experts(std::uint32_t tensor, std::size_t experts) const {
    const auto part = table_.expert_part(tensor);
    return !part || table_.placement().groups[part->group].slots >= experts;
  }
  [[nodiscard]] Status bring(std::span<const std::uint32_t> tensors, std::span<const std::uint32_t> experts,
                             const ExpertCache::TakeBytes& take) {
    threads_->prepare(stream_->inner, stream_->threads);
    return executor_->bring(stream_->inner, tensors, experts, take);
  }
  /// Whether weights of this type may lie here in another layout than the file's.
  [[nodiscard]] bool may_repack(ggml_type type) const { return layout_->may_serve(type); }
  /// Writes `size` bytes of an expert's rows to `out` as they are in the file, from byte `begin` of the
  /// expert on. `rows` is the whole expert, in the layout in which its weight is kept. The threads that
  /// compute do it. Requires: as for bring(), and the weight is repacked. Errors: kCancelled.
  [[nodiscard]] Status turn_back(std::uint32_t tensor, const std::byte* rows, std::uint64_t begin,
                                 std::uint64_t size, std::byte* out);

  /// As PassExecutor's functions of the same names. Requires: the weights are placed, or else there is
  /// nothing to end.
  void share_rows(RowDevice& device) { executor_->share_rows(device); }
  void keep_rows(const RowDevice& device) {
    if (executor_ != nullptr) executor_->keep_rows(device);
  }

  /// Pins the host's weights for a device that fetches from them, until displace(), and returns whether they
  /// are pinned. Devices of one back end share it. Requires: the weights are placed.
  bool pin_weights(ggml_backend_dev_t device);
  /// Lends the bytes of experts in slots to a thread that sends them. Null where the weights are not placed,
  /// and where no experts have slots. It lives as long as the placement.
  [[nodiscard]] ExpertLoans* expert_loans() const {
    return executor_ != nullptr ? executor_->expert_loans() : nullptr;
  }

  /// Statistics since the device was made, over all placements. The graphs of earlier contexts are no passes:
  /// they draft. What is read for them counts.
  [[nodiscard]] PassStatistics statistics() const;
  /// The threads that compute. Devices whose options name this one as share_threads use them, too.
  [[nodiscard]] ComputeThreads& threads() const { return *threads_; }
  /// Bytes that the last place() has read so far.
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

  void choose_layouts(ggml_backend_dev_t cpu);
  void record(int threads, const ggml_cgraph& graph);
  [[nodiscard]] Status record_token_by_token(ggml_backend_t inner, const ggml_cgraph& graph);
  [[nodiscard]] Bytes gather_staging() const;
  [[nodiscard]] Bytes expert_shadows() const;
  [[nodiscard]] Bytes repack_scratch() const;
  [[nodiscard]] Bytes expert_ids() const;
  /// Reads everything that has a place. Returns the cache of the experts, or null where the placement has no
  /// expert groups.
  [[nodiscard]] Result<std::unique_ptr<ExpertCache>> read_weights(const Progress& progress);
  [[nodiscard]] Status read_residents(const std::function<bool(Bytes)>& more);

  const model::ModelProfile& profile_;
  const DeviceOptions options_;
  const DiskFiles files_;
  // The stream of the newest context.
  const Stream* stream_ = nullptr;
  // Null where the threads are another device's.
  std::unique_ptr<ComputeThreads> own_threads_;
  ComputeThreads* threads_ = nullptr;
  Elsewhere elsewhere_;
  std::set<int> norms_elsewhere_;
  std::int64_t sequences_ = 1;
  HostBufferType host_;
  WeightBufferType weights_;

  std::unique_ptr<RepackedLayout> layout_;
  GraphNeeds recorded_;
  std::vector<plan::GraphWork> work_;
  std::uint64_t work_bytes_ = 0;

  bool token_by_token_ = false;
  bool pretends_ = false;
  bool records_drafts_ = false;
  BatchInvariance split_;
  static constexpr std::int64_t kNoLimit = INT64_MAX;
  std::int64_t most_tokens_ = kNoLimit;
  // Heap of the largest compiled pass that is split by tokens.
  Bytes split_bytes_;
  // Heap that each unit of a matrix adds to that.
  Bytes split_bytes_per_unit_;

  WeightTable table_;
  memory::Region arena_;
  // The arena, by back end.
  std::map<ggml_backend_reg_t, PinnedMemory> pinned_;
  memory::Region staging_;
  std::vector<memory::Reservation> reservations_;
  // Null once the executor has taken it.
  std::unique_ptr<DiskReader> row_reader_;
  bool recording_ = true;
  std::unique_ptr<PassExecutor> executor_;
  Bytes loaded_;
  // Graphs that the newest executor has computed for other contexts than the newest one.
  std::uint64_t drafting_ = 0;
  // Statistics of the earlier executors.
  ExpertHeat heat_;
  PassStatistics past_;
};

}  // namespace brimful::tier
