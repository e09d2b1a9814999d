#pragma once

#include <ggml-cpp.h>
#include <ggml-impl.h>

#include <array>
#include <deque>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "memory/region.h"
#include "plan/transfer_policy.h"
#include "tier/gpu/copy_queue.h"
#include "tier/gpu/gpu_experts.h"
#include "tier/gpu/pinned_memory.h"
#include "tier/host/host_device.h"
#include "tier/io/range_reader.h"
#include "tier/stream/pass_stream.h"
#include "tier/weights/backend_device.h"

namespace brimful::tier {

/// ggml's devices with memory of their own, in its order. Of a card that two back ends know, the first one's.
[[nodiscard]] std::vector<ggml_backend_dev_t> gpu_devices();

/// Where it is in this machine, `0000:01:00.0`, as its back end says; empty where it does not. May start its
/// driver.
[[nodiscard]] std::string card_of(ggml_backend_dev_t device);

/// A ggml device in front of another one that has memory of its own (CUDA0, Vulkan0, RPC0): what is computed
/// with the weights that a plan puts there is computed there, everything else is left to the devices after
/// it. libllama gets it before the host's device; weights are tied to it by supports_op alone, in the host's
/// weight buffer type. In this order:
///   1. choose() the weights, load the model, create a context: KV cache and compute buffers are allocated on
///      the inner device at once, counted; graphs are not computed;
///   2. place(): the weights are read and sent; from now on graphs are computed;
///   3. for another budget: displace(), and from the start again.
/// With a ring, matrix products of many tokens are computed there with the host's weights, too: these are
/// sent ahead of the computation, from memory or disk, as the host's device streams from disk. With slots for
/// experts, those of few tokens are multiplied there as far as they have a slot. Threading: one thread at a
/// time, as a llama_context. Lifetime: outlives model and context.
class GpuDevice final : public BackendDevice {
 public:
  /// `pool` has the device's budget, and it and `host` outlive this.
  GpuDevice(HostDevice& host, memory::Pool& pool, ggml_backend_dev_t inner);
  ~GpuDevice() override;

  /// What is computed here with weights that are sent: of batches, with a ring that has room for two of the
  /// matrix; of missing experts, where all of a step's fit the slots. Before choose().
  void send(const plan::TransferPolicy& what) { transfer_policy_ = what; }
  [[nodiscard]] const plan::TransferPolicy& transfer_policy() const { return transfer_policy_; }

  /// Indices into the profile's tensors. What several layers share may lie here and on the host. `ring`: for
  /// weights that are sent; 0 where none are. `experts`: of these, some get slots.
  void choose(const std::vector<std::uint32_t>& tensors, Bytes ring = {},
              std::span<const plan::CachedExperts> experts = {});

  /// While on, experts are left to the host, whether they have slots or not: to record what it needs then.
  void leave_experts(bool on) { leaves_experts_ = on; }
  [[nodiscard]] bool has_experts() const { return experts_.has_value(); }

  /// Bytes that the chosen weights take there, and with a ring the vectors of all layers, as the inner device
  /// aligns and pads them; experts' slots are part of it.
  [[nodiscard]] Bytes weight_bytes() const;
  [[nodiscard]] Bytes expert_bytes() const { return experts_ ? experts_->bytes(inner_type_) : Bytes{}; }
  /// The types of the buffers that a context has here: compute buffers are asked of the first one, and all
  /// are of the second.
  [[nodiscard]] std::array<ggml_backend_buffer_type_t, 2> buffer_types() {
    return {&counted_type_, inner_type_};
  }
  /// What the context holds here, now that it is made: until then its buffers are counted as they are asked
  /// for. Errors: kBudgetExceeded.
  [[nodiscard]] Status settle(Bytes kv_cache, Bytes compute);
  /// The context, and with it the buffers that it had here, are gone.
  void forget_buffers() { buffers_.clear(); }

  using Progress = std::function<bool(Bytes done)>;
  /// Reads the chosen weights through a little of the host's memory, and sends them.
  /// Errors: kBudgetExceeded, kIo, kCancelled.
  [[nodiscard]] Status place(memory::Pool& host_pool, const Progress& progress);

  /// Gives back all that lies there, for another choose(). Requires: no context lives.
  void displace();

  /// Host memory that connect() and sending take.
  [[nodiscard]] Bytes host_bytes() const;
  /// Where the weights come from that are sent. Requires: place() succeeded here, and the host's weights are
  /// placed. Errors: kBudgetExceeded.
  [[nodiscard]] Status connect();

  /// The host's weights are going: nothing is sent any more. connect() again sends from new places.
  void disconnect();
  /// Whether weights are sent from memory that the driver would rather have pinned, and could not.
  [[nodiscard]] bool sends_from_pageable() const { return stream_ != nullptr && pageable_; }

  /// Of steps that had slots here.
  [[nodiscard]] ExpertStatistics experts() const;
  /// Bytes of weights sent for batches so far.
  [[nodiscard]] Bytes sent() const { return sent_before_ + (stream_ ? stream_->statistics().read : Bytes{}); }
  /// What of it was read from disk for that, and how long the device waited for it.
  [[nodiscard]] StreamStatistics statistics() const {
    return {Bytes{from_disk_},
            stalled_before_ + (stream_ ? stream_->statistics().stalled : std::chrono::nanoseconds{0})};
  }

 private:
  friend struct CountedBuffers;
  class Program;
  struct GpuSegment;

  [[nodiscard]] const char* name() const override { return ggml_backend_dev_name(inner_); }
  [[nodiscard]] ggml_backend_buffer_type_t buffer_type() override { return &counted_type_; }
  [[nodiscard]] ggml_backend_buffer_type_t host_buffer_type() override {
    return host_.host_buffers().handle();
  }
  [[nodiscard]] bool supports_op(const ggml_tensor& op) const override;
  [[nodiscard]] bool supports_buffer_type(ggml_backend_buffer_type_t type) const override;
  void set_abort_callback(Stream& stream, ggml_abort_callback callback, void* data) override;
  [[nodiscard]] Status compute(const Stream& stream, ggml_cgraph& graph) override;

  [[nodiscard]] bool takes(const ggml_tensor& op) const;
  [[nodiscard]] bool can_send(std::uint32_t weight) const;
  [[nodiscard]] ggml_backend_buffer_t allocate(std::size_t size);
  [[nodiscard]] Status compute_runs(ggml_backend_t inner, const ggml_cgraph& graph, const Program& program);
  [[nodiscard]] Status start_runs(ggml_backend_t inner, const ggml_cgraph& graph, const Program& program);
  [[nodiscard]] Status compute_nodes(ggml_backend_t inner, const ggml_cgraph& graph,
                                     std::span<ggml_tensor* const> nodes);
  [[nodiscard]] Result<ggml_backend_buffer_ptr> allocate_weights(ggml_context* tensors, Bytes size,
                                                                 memory::Tag owner,
                                                                 memory::Reservation& reservation);
  [[nodiscard]] Status compute_step(ggml_backend_t inner, const ggml_cgraph& graph,
                                    const GpuSegment& segment);
  [[nodiscard]] Status send(RangeReader& reader, const Progress& progress);

  HostDevice& host_;
  const WeightBufferType& weights_;
  ggml_backend_buffer_type_t const inner_type_;
  ggml_backend_buffer_type counted_type_{};

  ggml_context_ptr context_;         // of the weights' twins
  std::vector<ggml_tensor*> twins_;  // by tensor; null where it is not here
  ggml_backend_buffer_ptr arena_;    // the twins' memory, once placed
  memory::Reservation arena_reservation_;
  bool placed_ = false;

  plan::TransferPolicy transfer_policy_;
  bool leaves_experts_ = false;
  std::optional<GpuExperts> experts_;
  ExpertStatistics experts_before_;  // by the ones before

  Bytes ring_size_;
  std::vector<bool> for_batches_;  // by tensor: its twin is for batches only
  std::vector<bool> sendable_;     // by tensor
  ggml_context_ptr ring_context_;  // of one tensor, all of the ring
  ggml_backend_buffer_ptr ring_;
  memory::Reservation ring_reservation_;
  memory::Region staging_;
  PinnedMemory pinned_staging_;
  PinnedMemory pinned_weights_;  // the host's
  bool pageable_ = false;
  std::optional<CopyQueue> copies_;     // of what lies in pinned memory
  std::unique_ptr<PassStream> stream_;  // its reader sends
  Bytes sent_before_;                   // by streams before
  std::chrono::nanoseconds stalled_before_{0};
  std::atomic<std::uint64_t> from_disk_ = 0;
  std::vector<memory::Reservation> buffers_;
  std::deque<ggml_cgraph> parts_;  // of the graph that the device is computing
  ggml_abort_callback abort_ = nullptr;
  void* abort_data_ = nullptr;
};

}  // namespace brimful::tier
