#pragma once

#include <ggml-backend.h>

#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "memory/pool.h"

namespace brimful::tier {

/// The base of our ggml devices. It stands in front of an inner device: libllama sees the capacity of a
/// memory pool as its memory, and the inner device does what ours does not do itself. libllama only learns
/// that a call failed; this class keeps the reason for take_error().
/// Threading: one thread at a time, like a llama_context. Lifetime: it must outlive the model and the
/// context.
class BackendDevice {
 public:
  BackendDevice(const BackendDevice&) = delete;
  BackendDevice& operator=(const BackendDevice&) = delete;

  /// The device to give to libllama.
  [[nodiscard]] ggml_backend_dev_t handle() { return device_.get(); }
  /// The device behind this one.
  [[nodiscard]] ggml_backend_dev_t inner() const { return inner_; }

  /// While this is on, graphs are not computed, and libllama goes on as if they had been. Their outputs are
  /// undefined.
  void skip_computing(bool on) { skipping_ = on; }

  /// From now on, the values (F32) of each node with this name that is an output of its graph are appended to
  /// `values`, after each graph that succeeds. `values` must stay valid until the next call of keep(). With
  /// null, nothing is appended any more.
  void keep(std::string_view node, std::vector<float>* values) {
    kept_node_ = node;
    kept_ = values;
  }

  /// The reason why a graph or an allocation failed since the last call. Unset if none failed.
  [[nodiscard]] std::optional<Error> take_error() { return std::exchange(error_, std::nullopt); }

 protected:
  BackendDevice(memory::Pool& pool, ggml_backend_dev_t inner);
  virtual ~BackendDevice();

  /// What libllama computes with: the ggml_backend of one context, and the inner device's behind it.
  struct Stream {
    BackendDevice* device;
    ggml_backend_t inner;
    /// The number of threads that libllama asked for.
    int threads = 1;
  };

  [[nodiscard]] virtual const char* name() const = 0;
  /// The type in which libllama allocates what belongs to this device.
  [[nodiscard]] virtual ggml_backend_buffer_type_t buffer_type() = 0;
  /// The type in which libllama allocates host memory for this device.
  [[nodiscard]] virtual ggml_backend_buffer_type_t host_buffer_type() = 0;
  /// Whether the device computes `op`. libllama's scheduler asks this for each node.
  [[nodiscard]] virtual bool supports_op(const ggml_tensor& op) const = 0;
  /// Whether the device can use tensors in buffers of `type` without a copy.
  [[nodiscard]] virtual bool supports_buffer_type(ggml_backend_buffer_type_t type) const = 0;
  /// libllama has made a stream; called once for each, before its first graph.
  virtual void started(Stream&) {}
  /// libllama frees the stream; its inner backend still exists.
  virtual void ended(Stream&) {}
  /// libllama sets the number of threads for the next graphs.
  virtual void set_threads(Stream&, int) {}
  /// libllama sets the callback that ends a computation when it returns true.
  virtual void set_abort_callback(Stream& stream, ggml_abort_callback callback, void* data) = 0;
  /// Computes `graph`. Errors: kCancelled is reported to libllama as aborted, any other error as failed. An
  /// exception is caught and reported as kInternal.
  [[nodiscard]] virtual Status compute(const Stream& stream, ggml_cgraph& graph) = 0;

  memory::Pool& pool_;
  ggml_backend_dev_t const inner_;
  std::optional<Error> error_;

 private:
  friend struct DeviceCalls;
  void keep_values(ggml_cgraph& graph) const;

  bool skipping_ = false;
  std::string kept_node_;
  std::vector<float>* kept_ = nullptr;
  const std::unique_ptr<ggml_backend_device> device_;
  const std::unique_ptr<ggml_backend_reg> reg_;
};

}  // namespace brimful::tier
