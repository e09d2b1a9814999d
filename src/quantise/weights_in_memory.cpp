#include "quantise/weights_in_memory.h"

#include <algorithm>
#include <vector>

#include "base/in_threads.h"
#include "quantise/rows.h"

namespace brimful::quantise {
namespace {

/// Elements that are converted at once.
constexpr std::int64_t kSlab = 1024 * 1024;

void store(const float* values, std::int64_t n, ggml_type type, std::byte* to) {
  switch (type) {
    case GGML_TYPE_F16: ggml_fp32_to_fp16_row(values, reinterpret_cast<ggml_fp16_t*>(to), n); return;
    case GGML_TYPE_BF16: ggml_fp32_to_bf16_row(values, reinterpret_cast<ggml_bf16_t*>(to), n); return;
    default: std::copy_n(values, n, reinterpret_cast<float*>(to));
  }
}

}  // namespace

bool WeightsInMemory::can_be_changed(const model::TensorInfo& tensor) const {
  const bool plain =
      tensor.type == GGML_TYPE_F32 || tensor.type == GGML_TYPE_F16 || tensor.type == GGML_TYPE_BF16;
  if (meter_ == nullptr || !plain) return false;
  const std::vector<ggml_tensor*> weights = meter_->weights(tensor.name);
  return !weights.empty() && std::ranges::all_of(weights, [&](const ggml_tensor* weight) {
    return weight->type == tensor.type && ggml_nbytes(weight) == tensor.bytes.value &&
           ggml_is_contiguous(weight) && ggml_backend_buffer_is_host(weight->buffer);
  });
}

Status WeightsInMemory::change(const model::TensorInfo& tensor, ggml_type type) {
  const std::int64_t width = tensor.shape[0];
  const std::int64_t step = std::max<std::int64_t>(1, kSlab / width);
  const std::size_t row_bytes = tensor.row_bytes().value;
  const auto columns = importance_.columns.find(tensor.name);
  const float* const importance = columns == importance_.columns.end() ? nullptr : columns->second.data();
  std::vector<std::byte> from(static_cast<std::size_t>(step) * row_bytes);
  std::vector<float> values(static_cast<std::size_t>(step * width));
  std::vector<std::byte> quantised(static_cast<std::size_t>(step) * ggml_row_size(type, width));
  for (std::int64_t first = 0; first < tensor.rows(); first += step) {
    const Rows rows = rows_of(tensor, first, std::min(step, tensor.rows() - first));
    const std::uint64_t offset = static_cast<std::uint64_t>(first) * row_bytes;
    const Bytes bytes{static_cast<std::uint64_t>(rows.count) * row_bytes};
    BRIMFUL_TRY_VOID(source_.read(tensor, offset, bytes, from.data()));
    BRIMFUL_TRY_VOID(to_floats(tensor.name, tensor.type, from.data(), rows, values.data(), threads_));
    BRIMFUL_TRY_VOID(
        quantise_rows(tensor.name, type, values.data(), rows, importance, quantised.data(), threads_));
    in_threads(rows.count, threads_, [&](std::int64_t r) {
      float* const row = values.data() + r * width;
      ggml_get_type_traits(type)->to_float(
          quantised.data() + static_cast<std::size_t>(r) * ggml_row_size(type, width), row, width);
      store(row, width, tensor.type, from.data() + static_cast<std::size_t>(r) * row_bytes);
    });
    for (ggml_tensor* const weight : meter_->weights(tensor.name))
      ggml_backend_tensor_set(weight, from.data(), offset, bytes.value);
  }
  return {};
}

Status WeightsInMemory::restore(const model::TensorInfo& tensor) {
  for (ggml_tensor* const weight : meter_->weights(tensor.name))
    BRIMFUL_TRY_VOID(source_.read(tensor, 0, tensor.bytes, static_cast<std::byte*>(weight->data)));
  return {};
}

}  // namespace brimful::quantise
