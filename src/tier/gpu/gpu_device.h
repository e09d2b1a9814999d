#pragma once

#include <ggml-cpp.h>

#include <array>
#include <atomic>
#include <deque>
#include <functional>
#include <list>
#include <memory>
#include <optional>
#include <set>
#include <span>
#include <string>
#include <vector>

#include "memory/region.h"
#include "plan/transfer_policy.h"
#include "tier/gpu/copy_queue.h"
#include "tier/gpu/gpu_experts.h"
#include "tier/gpu/gpu_rows.h"
#include "tier/gpu/single_columns.h"
#include "tier/gpu/turning_threads.h"
#include "tier/host/host_device.h"
#include "tier/io/range_reader.h"
#include "tier/stream/pass_stream.h"
#include "tier/weights/backend_device.h"
#include "tier/weights/pinned_memory.h"

namespace brimful::tier {

struct GpuPart;

/// ggml's devices with memory of their own, in ggml's order, as one_for_each_card() returns them.
[[nodiscard]] std::vector<ggml_backend_dev_t> gpu_devices();

/// The devices of `all` without those whose card an earlier backend in the list has, too. Cards are told
/// apart by their description and their order, because a question for the address starts CUDA's driver on
/// the card: the second card of a description in one backend is the second one of that description in
/// another. Where backends see different cards, that can be wrong; is_same_card() is certain.
[[nodiscard]] std::vector<ggml_backend_dev_t> one_for_each_card(std::span<ggml_backend_dev_t const> all);

/// Whether both devices are the same card, by its address. Two devices of one backend never are. Starts the
/// drivers, as card_of() does.
[[nodiscard]] bool is_same_card(ggml_backend_dev_t one, ggml_backend_dev_t other);

/// The PCI address of the device in this machine (`0000:01:00.0`), as its backend reports it. Empty where the
/// backend reports none. The call starts the device's driver, so call it for devices in use only.
[[nodiscard]] std::string card_of(ggml_backend_dev_t device);

/// A ggml device in front of another one that has memory of its own (CUDA0, Vulkan0, RPC0). It computes what
/// uses the weights that a plan puts there, and leaves everything else to the devices behind it. libllama
/// gets it before the host's device. Weights are tied to it by supports_op alone: for libllama they are in
/// the host's weight buffer type. Call in this order:
///   1. choose() the weights, load the model, create a context: KV cache and compute buffers are allocated on
///      the inner device at once, and counted. Graphs are not computed yet;
///   2. place(): the weights are read and sent. From now on graphs are computed;
///   3. for another budget: displace(), and from the start again.
/// With a ring, matrix products of many tokens are computed on the device with the host's weights, too. These
/// are sent ahead of the computation, from memory or disk, in the same way as the host's device streams from
/// disk. With slots for experts, the device multiplies the experts that have a slot, for steps of few tokens.
/// With rows of the host's matrices, it multiplies these while the host computes such a step.
/// Threading: one thread at a time, like a llama_context. Lifetime: it must outlive the model and the
/// context.
class GpuDevice final : public BackendDevice {
 public:
  /// The capacity of `pool` is the device's budget. `pool` and `host` must outlive the device.
  GpuDevice(HostDevice& host, memory::Pool& pool, ggml_backend_dev_t inner);
  ~GpuDevice() override;

  /// Sets what is computed here with weights that are sent: matrices for batches, where the ring has room for
  /// two of the matrix, and missing experts, where the slots hold all experts of a step. Call it before
  /// choose().
  void send(const plan::TransferPolicy& what) { transfer_policy_ = what; }
  [[nodiscard]] const plan::TransferPolicy& transfer_policy() const { return transfer_policy_; }

  /// Chooses the weights that lie on the device, as indices into ModelProfile::tensors. A tensor that several
  /// layers share may lie here and on the host. `ring` is memory for weights that are sent; 0 if none are. Of
  /// the groups in `experts`, some experts get slots. `sent_layers` are the layers whose weights are sent
  /// here; all where it is empty. `rows` are those of the host's matrices that are sent in passes of few
  /// tokens; their buffers take a part of `ring`, and where it has no room for them, no rows are sent.
  /// Requires: nothing is placed.
  void choose(const std::vector<std::uint32_t>& tensors, Bytes ring = {},
              std::span<const plan::CachedExperts> experts = {}, std::span<const int> sent_layers = {},
              std::span<const plan::DeviceRows> rows = {});

  /// The layers of which a matrix lies here, experts left out.
  [[nodiscard]] const std::set<int>& layers() const { return layers_; }

  /// While this is on, experts are left to the host, whether they have slots here or not. It serves to record
  /// what the host needs in that case.
  void leave_experts(bool on) { leaves_experts_ = on; }
  /// Sets what the next steps with experts are taken to lack.
  void pretend(Lack lack) {
    if (experts_) experts_->pretend(lack);
  }
  /// While this is on, no step has a part in which experts have slots.
  void freeze_experts(bool on) { freezes_experts_ = on; }
  /// Counts the steps of the newest pass whose tokens were kept apart, for the first `tokens` of these
  /// tokens. Errors: those of GpuExperts::settle().
  [[nodiscard]] Status settle_experts(std::size_t tokens) {
    return experts_ ? experts_->settle(tokens) : Status{};
  }
  /// The largest number of tokens of the next pass whose tokens are kept apart; no limit where it is unset.
  [[nodiscard]] std::optional<std::size_t> room_for_deferred() const {
    return experts_ ? std::optional(experts_->room_for_deferred()) : std::nullopt;
  }
  /// The largest number of tokens that any such pass may have; no limit where it is unset.
  [[nodiscard]] std::optional<std::int64_t> most_tokens_of_step() const {
    return experts_ ? std::optional(experts_->most_tokens_of_step(weights_.profile().experts_used))
                    : std::nullopt;
  }
  /// Whether experts have slots here.
  [[nodiscard]] bool has_experts() const { return experts_.has_value(); }

  /// Bytes that the chosen weights take on the device, as the inner device aligns and pads them. They include
  /// the slots of experts and, with a ring, the norms and biases of all layers.
  [[nodiscard]] Bytes weight_bytes() const;
  /// The part of weight_bytes() that the slots of experts take.
  [[nodiscard]] Bytes expert_bytes() const { return experts_ ? experts_->bytes(inner_type_) : Bytes{}; }
  /// The types of the buffers that a context has here. libllama asks the first one for compute buffers; the
  /// buffers that it gets have the second.
  [[nodiscard]] std::array<ggml_backend_buffer_type_t, 2> buffer_types() {
    return {counted_type_.get(), inner_type_};
  }
  /// Sets what the context holds here, once it is made. Until then, each buffer is counted when libllama asks
  /// for it, and stays counted even if ggml gives it back. Errors: kBudgetExceeded.
  [[nodiscard]] Status settle(Bytes kv_cache, Bytes compute);
  /// Call this when the context is gone, and with it the buffers that it had here.
  void forget_buffers() { buffers_.clear(); }

  /// Is called with the bytes read so far. Returning false cancels.
  using Progress = std::function<bool(Bytes done)>;
  /// Reads the chosen weights through a small buffer in host memory, which is reserved from `host_pool` for
  /// the call, and sends them. `progress` may be empty. Errors: kBudgetExceeded, kIo, kCancelled.
  [[nodiscard]] Status place(memory::Pool& host_pool, const Progress& progress);

  /// Gives back everything that lies on the device, for another choose(). Requires: no context lives.
  void displace();

  /// Host memory that connect(), sending and the steps of experts take.
  [[nodiscard]] Bytes host_bytes() const;
  /// Prepares sending the host's weights to the ring, and its experts to the slots; does nothing without.
  /// Requires: place() succeeded here, and the host's weights are placed. Errors: kBudgetExceeded.
  [[nodiscard]] Status connect();

  /// Ends sending: call this before the host's weights lose their places. connect() then sends from the new
  /// ones.
  void disconnect();
  /// Whether weights are sent from memory that could not be pinned, on a device that copies faster from
  /// pinned memory.
  [[nodiscard]] bool sends_from_pageable() const { return pageable_; }

  /// What keeps the tokens of a pass apart. HostDevice::token_by_token() has the order of calls.
  [[nodiscard]] SingleColumns& columns() { return columns_; }

  /// Statistics of the steps that used slots here, since the device was made.
  [[nodiscard]] ExpertStatistics experts() const;
  /// Bytes of weights sent for batches, and of rows for passes of few tokens, since the device was made.
  [[nodiscard]] Bytes sent() const { return sent_before_ + (stream_ ? stream_->statistics().read : Bytes{}); }
  /// The bytes that were read from disk to be sent, and how long the device waited for what was sent.
  [[nodiscard]] StreamStatistics statistics() const {
    return {Bytes{from_disk_},
            stalled_before_ + (stream_ ? stream_->statistics().stalled : std::chrono::nanoseconds{0})};
  }

 private:
  friend struct CountedBuffers;
  class Program;
  struct GpuSegment;

  [[nodiscard]] const char* name() const override { return ggml_backend_dev_name(inner_); }
  [[nodiscard]] ggml_backend_buffer_type_t buffer_type() override { return counted_type_.get(); }
  [[nodiscard]] ggml_backend_buffer_type_t host_buffer_type() override {
    return host_.host_buffers().handle();
  }
  [[nodiscard]] bool supports_op(const ggml_tensor& op) const override;
  [[nodiscard]] bool supports_buffer_type(ggml_backend_buffer_type_t type) const override;
  void started(Stream& stream) override { backend_ = stream.inner; }
  void set_abort_callback(Stream& stream, ggml_abort_callback callback, void* data) override;
  [[nodiscard]] Status compute(const Stream& stream, ggml_cgraph& graph) override;

  [[nodiscard]] bool takes(const ggml_tensor& op) const;
  [[nodiscard]] bool attends_to_host(const ggml_tensor& op) const;
  [[nodiscard]] Bytes padded_bytes(std::uint32_t weight) const;
  [[nodiscard]] ggml_backend_buffer_t allocate(std::size_t size);
  [[nodiscard]] Status compute_runs(ggml_backend_t inner, const ggml_cgraph& graph, const Program& program);
  [[nodiscard]] Status start_runs(ggml_backend_t inner, const ggml_cgraph& graph, const Program& program);
  [[nodiscard]] Status compute_nodes(ggml_backend_t inner, const ggml_cgraph& graph,
                                     std::vector<ggml_tensor*> nodes, bool sent);
  [[nodiscard]] Result<ggml_backend_buffer_ptr> allocate_weights(ggml_context* tensors, Bytes size,
                                                                 memory::Tag owner,
                                                                 memory::Reservation& reservation);
  [[nodiscard]] Status compute_step(ggml_backend_t inner, const ggml_cgraph& graph,
                                    const GpuSegment& segment);
  void clear_padding(ggml_backend_t inner, const StreamEntry& entry, const std::byte* slot);
  [[nodiscard]] Status send(RangeReader& reader, const Progress& progress);

  HostDevice& host_;
  const WeightBufferType& weights_;
  ggml_backend_buffer_type_t const inner_type_;
  const std::unique_ptr<ggml_backend_buffer_type> counted_type_;

  // The context of the device tensors.
  ggml_context_ptr context_;
  // Device tensors, indexed by tensor of the profile; null where a weight does not lie here.
  std::vector<ggml_tensor*> device_tensors_;
  // The memory of the device tensors, once they are placed.
  ggml_backend_buffer_ptr arena_;
  memory::Reservation arena_reservation_;
  bool placed_ = false;

  plan::TransferPolicy transfer_policy_;
  bool leaves_experts_ = false;
  bool freezes_experts_ = false;
  SingleColumns columns_;
  std::optional<GpuExperts> experts_;
  // Statistics of the earlier experts_.
  ExpertStatistics experts_before_;

  // The ring, without the buffers for rows behind it.
  Bytes ring_size_;
  std::vector<plan::DeviceRows> rows_;
  // The inner backend of the newest context.
  ggml_backend_t backend_ = nullptr;
  // Indexed by tensor: whether its device tensor is used for batches only.
  std::vector<bool> for_batches_;
  std::set<int> layers_;
  // Indexed by tensor: whether it can be sent.
  std::vector<bool> sendable_;
  // The context of one tensor that covers the ring.
  ggml_context_ptr ring_context_;
  ggml_backend_buffer_ptr ring_;
  memory::Reservation ring_reservation_;
  memory::Region staging_;
  PinnedMemory pinned_staging_;
  bool pageable_ = false;
  // Copies of what lies in pinned memory.
  std::optional<CopyQueue> copies_;
  // Null where one thread is enough.
  std::unique_ptr<TurningThreads> turning_threads_;
  // The stream to the ring; its reader sends.
  std::unique_ptr<PassStream> stream_;
  // Null where no rows are sent. It uses the stream.
  std::unique_ptr<GpuRows> row_products_;
  // Bytes that earlier streams sent.
  Bytes sent_before_;
  std::chrono::nanoseconds stalled_before_{0};
  std::atomic<std::uint64_t> from_disk_ = 0;
  std::vector<memory::Reservation> buffers_;
  // Zeros for what is padded behind a weight that was sent.
  std::vector<std::byte> zeros_;
  // The parts of the graph that the device is computing. A list: elements keep their addresses.
  std::list<GpuPart> parts_;
  // The first nodes of parts in which the host multiplies, indexed by GpuSegment::marker. They compute
  // nothing. A deque: elements keep their addresses.
  std::deque<ggml_tensor> markers_;
  ggml_abort_callback abort_ = nullptr;
  void* abort_data_ = nullptr;
};

}  // namespace brimful::tier
