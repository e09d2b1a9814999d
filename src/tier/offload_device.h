#pragma once

#include <ggml-cpp.h>

#include <array>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "memory/region.h"
#include "tier/ggml_device.h"
#include "tier/pass_stream.h"
#include "tier/pinned_memory.h"
#include "tier/range_reader.h"
#include "tier/weight_buffer.h"
#include "tier/weight_table.h"

namespace strata::tier {

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
/// sent ahead of the computation, from memory or disk, as the host's device streams from disk. Threading: one
/// thread at a time, as a llama_context. Lifetime: outlives model and context.
class OffloadDevice final : public GgmlDevice {
 public:
  /// `pool` has the device's budget, and it, `weights` and `host` outlive this.
  OffloadDevice(const WeightBufferType& weights, HostBufferType& host, memory::Pool& pool,
                ggml_backend_dev_t inner);
  ~OffloadDevice() override;

  /// With a ring, products of so many tokens and more are computed here with weights that are sent. Before
  /// choose().
  void send_from(std::int64_t tokens) { batch_ = tokens; }
  [[nodiscard]] std::int64_t sends_from() const { return batch_; }
  static constexpr std::int64_t kBatch = 32;  ///< where nobody measured
  /// The ring that suits the largest weights of a model.
  [[nodiscard]] static Bytes ring_bytes(const model::ModelProfile& profile);

  /// Indices into the profile's tensors. What several layers share may lie here and on the host. `ring`: for
  /// weights that are sent; 0 where none are.
  void choose(const std::vector<std::uint32_t>& tensors, Bytes ring = {});

  /// Bytes that the chosen weights take there, and with a ring the vectors of all layers, as the inner device
  /// aligns and pads them.
  [[nodiscard]] Bytes weight_bytes() const;
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
  [[nodiscard]] Status place(const DiskFiles& files, const ReaderFactory& make_reader,
                             memory::Pool& host_pool, const Progress& progress);

  /// Gives back all that lies there, for another choose(). Requires: no context lives.
  void displace();

  /// Host memory that connect() and sending take.
  [[nodiscard]] Bytes host_bytes() const;
  /// Where the weights come from that are sent; all outlive this. Requires: place() succeeded here, and the
  /// host's weights are placed. Errors: kBudgetExceeded.
  [[nodiscard]] Status connect(const DiskFiles& files, ReaderFactory make_reader, const WeightTable& table);

  /// The host's weights are going: nothing is sent any more. connect() again sends from new places.
  void disconnect();
  /// Whether weights are sent from memory that the driver would rather have pinned, and could not.
  [[nodiscard]] bool sends_from_pageable() const { return stream_ != nullptr && pageable_; }

  /// Bytes of weights sent for batches so far.
  [[nodiscard]] Bytes sent() const { return sent_before_ + (stream_ ? stream_->statistics().read : Bytes{}); }

 private:
  friend struct CountedBuffers;
  class Program;

  [[nodiscard]] const char* name() const override { return ggml_backend_dev_name(inner_); }
  [[nodiscard]] ggml_backend_buffer_type_t buffer_type() override { return &counted_type_; }
  [[nodiscard]] ggml_backend_buffer_type_t host_buffer_type() override { return host_.handle(); }
  [[nodiscard]] bool supports_op(const ggml_tensor& op) const override;
  [[nodiscard]] bool supports_buffer_type(ggml_backend_buffer_type_t type) const override;
  void set_abort_callback(Stream& stream, ggml_abort_callback callback, void* data) override;
  [[nodiscard]] Status compute(const Stream& stream, ggml_cgraph& graph) override;

  [[nodiscard]] bool takes(const ggml_tensor& op) const;
  [[nodiscard]] bool can_send(std::uint32_t weight) const;
  [[nodiscard]] ggml_backend_buffer_t allocate(std::size_t size);
  [[nodiscard]] Status compute_runs(ggml_backend_t inner, const ggml_cgraph& graph, const Program& program);
  [[nodiscard]] Status compute_nodes(ggml_backend_t inner, const ggml_cgraph& graph,
                                     std::span<ggml_tensor* const> nodes);
  [[nodiscard]] Result<ggml_backend_buffer_ptr> allocate_weights(ggml_context* tensors, Bytes size,
                                                                 memory::Owner owner,
                                                                 memory::Reservation& reservation);
  [[nodiscard]] Status send(const DiskFiles& files, RangeReader& reader, const Progress& progress);

  const WeightBufferType& weights_;
  HostBufferType& host_;
  ggml_backend_buffer_type_t const inner_type_;
  ggml_backend_buffer_type counted_type_{};

  ggml_context_ptr context_;         // of the weights' twins
  std::vector<ggml_tensor*> twins_;  // by tensor; null where it is not here
  ggml_backend_buffer_ptr arena_;    // the twins' memory, once placed
  memory::Reservation arena_reservation_;
  bool placed_ = false;

  std::int64_t batch_ = kBatch;
  Bytes ring_size_;
  std::vector<bool> for_batches_;  // by tensor: its twin is for batches only
  std::vector<bool> sendable_;     // by tensor
  ggml_context_ptr ring_context_;  // of one tensor, all of the ring
  ggml_backend_buffer_ptr ring_;
  memory::Reservation ring_reservation_;
  memory::Region staging_;
  const DiskFiles* files_ = nullptr;
  PinnedMemory pinned_staging_;
  PinnedMemory pinned_weights_;  // the host's
  bool pageable_ = false;
  std::unique_ptr<PassStream> stream_;  // its reader sends
  Bytes sent_before_;                   // by streams before
  std::vector<memory::Reservation> buffers_;
  ggml_abort_callback abort_ = nullptr;
  void* abort_data_ = nullptr;
};

}  // namespace strata::tier
