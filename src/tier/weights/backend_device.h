#pragma once

#include <ggml-backend-impl.h>

#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "memory/pool.h"

namespace brimful::tier {

/// A ggml device of ours around an inner one: its memory is a pool's, and what it does not do itself the
/// inner device does. libllama only learns that something failed; why is kept here. Threading: one thread at
/// a time, as a llama_context. Lifetime: outlives model and context.
class BackendDevice {
 public:
  BackendDevice(const BackendDevice&) = delete;
  BackendDevice& operator=(const BackendDevice&) = delete;

  [[nodiscard]] ggml_backend_dev_t handle() { return &device_; }
  [[nodiscard]] ggml_backend_dev_t inner() const { return inner_; }

  /// While on, graphs are not computed, and libllama goes on as if they had been.
  void skip_computing(bool on) { skipping_ = on; }

  /// From now on the values (F32) of each node of this name that is an output of its graph are added to
  /// `values`, which outlives this; null: no more.
  void keep(std::string_view node, std::vector<float>* values) {
    kept_node_ = node;
    kept_ = values;
  }

  /// Why the last graph or allocation failed.
  [[nodiscard]] std::optional<Error> take_error() { return std::exchange(error_, std::nullopt); }

 protected:
  BackendDevice(memory::Pool& pool, ggml_backend_dev_t inner);
  virtual ~BackendDevice() = default;

  /// What libllama computes with: one of the inner device's.
  struct Stream {
    BackendDevice* device;
    ggml_backend_t inner;
    int threads = 1;
  };

  [[nodiscard]] virtual const char* name() const = 0;
  [[nodiscard]] virtual ggml_backend_buffer_type_t buffer_type() = 0;
  [[nodiscard]] virtual ggml_backend_buffer_type_t host_buffer_type() = 0;
  [[nodiscard]] virtual bool supports_op(const ggml_tensor& op) const = 0;
  [[nodiscard]] virtual bool supports_buffer_type(ggml_backend_buffer_type_t type) const = 0;
  virtual void started(Stream&) {}
  virtual void ended(Stream&) {}
  virtual void set_threads(Stream&, int) {}
  virtual void set_abort_callback(Stream& stream, ggml_abort_callback callback, void* data) = 0;
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
  ggml_backend_device device_{};
  ggml_backend_reg reg_{};
};

}  // namespace brimful::tier
