#pragma once

#include <ggml-backend.h>

#include <memory>
#include <optional>
#include <utility>
#include <vector>

#include "model/model_profile.h"
#include "tier/io/disk_reader.h"
#include "tier/weights/host_buffer.h"

namespace brimful::tier {

/// The ggml buffer type in which libllama "allocates" the weights: it takes address space only. A tensor that
/// is created in it is tied to the TensorInfo of the same name. Nobody may read through the data pointer of
/// such a tensor.
/// ggml must not take it for a host buffer: the CPU backend would then read the weights behind our back.
/// While a model is loaded, its weights show no elements (ne[0] is 0): so libllama has nothing to read for
/// them, and does not fill a staging buffer as large as each weight.
/// After loading, an allocation in this type belongs to an adapter, because libllama puts an adapter's
/// tensors where the weight lies that they adapt. Such an allocation gets host memory instead.
/// Lifetime: it must outlive every buffer of the type.
class WeightBufferType {
 public:
  WeightBufferType(const model::ModelProfile& profile, ggml_backend_dev_t device, HostBufferType& host);
  WeightBufferType(const WeightBufferType&) = delete;
  WeightBufferType& operator=(const WeightBufferType&) = delete;
  ~WeightBufferType();

  [[nodiscard]] ggml_backend_buffer_type_t handle() { return type_.get(); }
  [[nodiscard]] bool is(ggml_backend_buffer_type_t other) const { return other == type_.get(); }

  /// Index into ModelProfile::tensors of the weight that `tensor` is, or is a view of. Unset when it is no
  /// weight.
  [[nodiscard]] std::optional<std::uint32_t> weight_of(const ggml_tensor* tensor) const;

  /// Call this before libllama loads the model. From then on, weights are made without elements.
  void begin_loading() { loading_ = true; }
  /// Call this when libllama has loaded the model: it gives the weights their shapes. `loaded` says whether
  /// libllama succeeded, so that its tensors still exist.
  void end_loading(bool loaded);

  /// The reason why a weight could not be read back since the last call. ggml's own call has no way to report
  /// it.
  [[nodiscard]] std::optional<Error> take_error() { return std::exchange(error_, std::nullopt); }

  /// Sets the files that ggml_backend_tensor_get reads weights back from; libllama does this for a few
  /// weights. With null, it gets zeros.
  void attach(const DiskFiles* files) { files_ = files; }

  [[nodiscard]] const model::ModelProfile& profile() const { return profile_; }
  [[nodiscard]] const DiskFiles* files() const { return files_; }

 private:
  friend struct WeightBufferCalls;

  const model::ModelProfile& profile_;

  /// A tensor that shows no elements for now, and its real ne[0].
  struct Hidden {
    ggml_tensor* tensor;
    std::int64_t row_length;
  };

  HostBufferType& host_;
  const DiskFiles* files_ = nullptr;
  std::optional<Error> error_;
  bool loading_ = false;
  std::vector<Hidden> hidden_;
  const std::unique_ptr<ggml_backend_buffer_type> type_;
};

}  // namespace brimful::tier
