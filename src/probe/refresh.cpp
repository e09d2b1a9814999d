#include "probe/refresh.h"

#include <algorithm>

#include "synth/type.h"

namespace brimful::probe {
namespace {

/// Returns whether the rates of all `types` are known.
bool knows(const hardware::Compute& compute, const std::vector<ggml_type>& types) {
  return std::ranges::all_of(types, [&](ggml_type type) {
    return std::ranges::find(compute.kernels, ggml_type_name(type), &hardware::KernelRate::type) !=
           compute.kernels.end();
  });
}

}  // namespace

std::vector<ggml_type> types_to_measure(const ProbeOptions& options) {
  std::vector<ggml_type> types = synth::synth_types();
  if (options.model == nullptr && options.refresh == Refresh::kUsualTypes)
    return {GGML_TYPE_F16, GGML_TYPE_Q8_0, GGML_TYPE_Q6_K, GGML_TYPE_Q4_K};
  if (options.model == nullptr) return types;
  std::erase_if(types, [&](ggml_type type) {
    return std::ranges::none_of(options.model->tensors, [&](const model::TensorInfo& tensor) {
      return tensor.type == type && tensor.rows() > 1;
    });
  });
  return types;
}

Refresh refresh_of(const ProbeOptions& options, const hardware::Compute* known) {
  switch (options.refresh) {
    case Refresh::kAll:
    case Refresh::kUsualTypes:
    case Refresh::kModelsTypes: return options.refresh;
    case Refresh::kMissing:
      return known && knows(*known, synth::synth_types()) ? Refresh::kNever : Refresh::kAll;
    case Refresh::kNever: break;
  }
  if (options.model == nullptr) return known ? Refresh::kNever : Refresh::kAll;
  // The earlier measurement may have been for a model with other types.
  return known && knows(*known, types_to_measure(options)) ? Refresh::kNever : Refresh::kModelsTypes;
}

void average(double& rate, double other) { rate = 2 / (1 / rate + 1 / other); }

void average(std::optional<double>& rate, const std::optional<double>& other) {
  if (rate && other) average(*rate, *other);
}

void average(hardware::KernelRate& rate, const hardware::KernelRate& other) {
  average(rate.decode_bytes_per_s, other.decode_bytes_per_s);
  average(rate.batch_multiplications_per_s, other.batch_multiplications_per_s);
  average(rate.prompt_multiplications_per_s, other.prompt_multiplications_per_s);
  average(rate.expert_decode_bytes_per_s, other.expert_decode_bytes_per_s);
  average(rate.expert_multiplications_per_s, other.expert_multiplications_per_s);
  average(rate.repack_bytes_per_s, other.repack_bytes_per_s);
  average(rate.file_order_decode_bytes_per_s, other.file_order_decode_bytes_per_s);
  average(rate.turn_back_bytes_per_s, other.turn_back_bytes_per_s);
  average(rate.short_rows_decode, other.short_rows_decode);
  average(rate.short_rows_batch, other.short_rows_batch);
}

void average(hardware::Attention& rate, const hardware::Attention& other) {
  average(rate.decode_multiplications_per_s, other.decode_multiplications_per_s);
  average(rate.prompt_multiplications_per_s, other.prompt_multiplications_per_s);
  average(rate.share_of_short_heads, other.share_of_short_heads);
}

void take_over_links(const std::vector<hardware::Gpu>& from, std::vector<hardware::Gpu>& to) {
  for (std::size_t i = 0; i < from.size(); ++i) {
    if (i >= to.size()) {
      to.push_back(from[i]);
    } else if (to[i].name == from[i].name) {
      to[i].host_to_device_bytes_per_s = from[i].host_to_device_bytes_per_s;
      to[i].copies_beside_reads_bytes_per_s = from[i].copies_beside_reads_bytes_per_s;
      to[i].reads_beside_copies_bytes_per_s = from[i].reads_beside_copies_bytes_per_s;
    }
  }
}

}  // namespace brimful::probe
