#pragma once

#include <ggml-backend-impl.h>
#include <ggml-cpp.h>

#include <functional>
#include <memory>
#include <optional>
#include <vector>

#include "memory/pool.h"
#include "tier/weight_buffer.h"

namespace strata::tier {

/// A ggml device in front of another one that has memory of its own (CUDA0, Vulkan0, RPC0): what is computed
/// with the weights that a plan puts there is computed there, everything else is left to the devices after
/// it. libllama gets it before the host's device; weights are tied to it by supports_op alone, in the host's
/// weight buffer type. In this order:
///   1. choose() the weights, load the model, create a context: KV cache and compute buffers are allocated on
///      the inner device at once, counted; graphs are not computed;
///   2. place(): the weights are read and sent; from now on graphs are computed.
/// Threading: one thread at a time, as a llama_context. Lifetime: outlives model and context.
class OffloadDevice {
 public:
  /// `pool` has the device's budget, and it, `weights` and `host` outlive this.
  OffloadDevice(const WeightBufferType& weights, HostBufferType& host, memory::Pool& pool,
                ggml_backend_dev_t inner);
  ~OffloadDevice();
  OffloadDevice(const OffloadDevice&) = delete;
  OffloadDevice& operator=(const OffloadDevice&) = delete;

  [[nodiscard]] ggml_backend_dev_t handle() { return &device_; }
  [[nodiscard]] ggml_backend_dev_t inner() const { return inner_; }

  /// Indices into the profile's tensors. What several layers share may lie here and on the host.
  void choose(const std::vector<std::uint32_t>& tensors);

  /// Bytes that the chosen weights take there, as the inner device aligns and pads them.
  [[nodiscard]] Bytes weight_bytes() const;
  /// Of the live context's buffers: those ggml marks as compute buffers, and the others.
  [[nodiscard]] Bytes compute_bytes() const;
  [[nodiscard]] Bytes kv_bytes() const;

  /// The context, and with it the buffers that it had here, are gone.
  void forget_buffers() { buffers_.clear(); }

  using Progress = std::function<bool(Bytes done)>;
  /// Reads the chosen weights through a little of the host's memory, and sends them.
  /// Errors: kBudgetExceeded, kIo, kCancelled.
  [[nodiscard]] Status place(const DiskFiles& files, const ReaderFactory& make_reader,
                             memory::Pool& host_pool, const Progress& progress);

  /// Why the last graph or allocation failed; libllama itself only learns that it did.
  [[nodiscard]] std::optional<Error> take_error() { return std::exchange(error_, std::nullopt); }

 private:
  friend struct OffloadCalls;
  struct Buffer {
    ggml_backend_buffer_t handle;
    memory::Reservation reservation;
  };

  [[nodiscard]] bool has_all_weights(const ggml_tensor* op) const;
  [[nodiscard]] ggml_backend_buffer_t allocate(std::size_t size);
  [[nodiscard]] Status compute(ggml_backend_t inner, ggml_cgraph& graph);
  [[nodiscard]] Bytes sum(ggml_backend_buffer_usage usage) const;
  [[nodiscard]] Status send(const DiskFiles& files, DiskReader& reader, memory::Region& staging,
                            const Progress& progress);

  const WeightBufferType& weights_;
  HostBufferType& host_;
  memory::Pool& pool_;
  ggml_backend_dev_t const inner_;
  ggml_backend_buffer_type_t const inner_type_;
  ggml_backend_device device_{};
  ggml_backend_reg reg_{};
  ggml_backend_buffer_type counted_type_{};

  ggml_context_ptr context_;         // of the weights' twins
  std::vector<ggml_tensor*> twins_;  // by tensor; null where it is not here
  ggml_backend_buffer_ptr arena_;    // the twins' memory, once placed
  memory::Reservation arena_reservation_;
  bool placed_ = false;
  std::vector<Buffer> buffers_;
  std::optional<Error> error_;
};

}  // namespace strata::tier
