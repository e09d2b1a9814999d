#pragma once

#include <ggml-backend-impl.h>

#include <optional>
#include <utility>
#include <vector>

#include "model/model_profile.h"
#include "tier/io/disk_reader.h"
#include "tier/weights/host_buffer.h"

namespace brimful::tier {

/// The ggml buffer type in which libllama "allocates" the weights: address space only. A tensor created in it
/// is tied, by name, to its TensorInfo; its data pointer must never be read.
/// Not a host buffer: the CPU backend would read the weights behind our back.
/// While a model is being loaded its weights show no elements: libllama then has nothing to read for them,
/// and does not fill a staging buffer as large as each one.
/// After loading, what is allocated in this type belongs to an adapter (libllama puts its tensors where the
/// weight they adapt lies) and gets host memory instead.
/// Lifetime: outlives every buffer of the type.
class WeightBufferType {
 public:
  WeightBufferType(const model::ModelProfile& profile, ggml_backend_dev_t device, HostBufferType& host);
  WeightBufferType(const WeightBufferType&) = delete;
  WeightBufferType& operator=(const WeightBufferType&) = delete;

  [[nodiscard]] ggml_backend_buffer_type_t handle() { return &type_; }
  [[nodiscard]] bool is(ggml_backend_buffer_type_t other) const { return other == &type_; }

  /// The weight that `tensor` is, or is a view of; nothing when it is no weight.
  [[nodiscard]] std::optional<std::uint32_t> weight_of(const ggml_tensor* tensor) const;

  void begin_loading() { loading_ = true; }
  /// Gives the weights their shapes. `loaded`: libllama succeeded, so that its tensors still exist.
  void end_loading(bool loaded);

  /// Why a weight could not be read back since the last call: ggml's call cannot say.
  [[nodiscard]] std::optional<Error> take_error() { return std::exchange(error_, std::nullopt); }

  /// Once set, weights can be read back through ggml_backend_tensor_get (libllama does for a few).
  void attach(const DiskFiles* files) { files_ = files; }

  [[nodiscard]] const model::ModelProfile& profile() const { return profile_; }
  [[nodiscard]] const DiskFiles* files() const { return files_; }

 private:
  friend struct WeightBufferCalls;

  const model::ModelProfile& profile_;

  struct Hidden {
    ggml_tensor* tensor;
    std::int64_t row_length;
  };

  HostBufferType& host_;
  const DiskFiles* files_ = nullptr;
  std::optional<Error> error_;
  bool loading_ = false;
  std::vector<Hidden> hidden_;
  ggml_backend_buffer_type type_;
};

}  // namespace brimful::tier
