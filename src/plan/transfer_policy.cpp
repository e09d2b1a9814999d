#include "plan/transfer_policy.h"

#include <algorithm>
#include <cmath>
#include <map>
#include <utility>

#include "plan/cost_model.h"
#include "plan/host_layout.h"

namespace brimful::plan {
namespace {

// Largest number of tokens that is tried.
constexpr std::int64_t kMostTokens = 8192;
// How many times as fast as the cores the crossing of KV cells has to be: the link is busy with the weights.
constexpr double kBusyLink = 2;
// Number of columns from which on sending a matrix pays, in most cases.
constexpr std::int64_t kColumns = 32;
// Threads that turn weights back where the machine was not measured: one does 5 to 10 GB/s.
constexpr int kTurningThreads = 3;

bool is_expert(const model::TensorInfo& tensor) {
  return tensor.role == model::Role::kExpert && tensor.shape[2] > 1;
}

/// Whether the tensor is a matrix of a layer: of its experts, or of everything else.
bool is_sent(const model::TensorInfo& tensor, bool experts) {
  if (!experts) return tensor.is_dense_matrix_of_layer();
  return tensor.layer && tensor.rows() > 1 && is_expert(tensor);
}

std::int64_t experts_of(const model::ModelProfile& profile) {
  std::int64_t most = 0;
  for (const model::TensorInfo& tensor : profile.tensors) {
    if (is_expert(tensor)) most = std::max(most, tensor.shape[2]);
  }
  return most;
}

/// The share of the experts that one token uses; 1 for a dense model.
double share_of_experts(const model::ModelProfile& profile) {
  const auto experts = static_cast<double>(experts_of(profile));
  return experts > 0 ? std::clamp(profile.experts_used / experts, 1 / experts, 1.0) : 1;
}

/// The rates with the layouts that the host's weights have: what keeps the file's layout has that rate, and
/// is not turned back.
hardware::Compute in_layouts(hardware::Compute compute, const HostLayout& layout) {
  for (const ggml_type type : layout.in_file_order) {
    const auto rate = std::ranges::find(compute.kernels, ggml_type_name(type), &hardware::KernelRate::type);
    rate->expert_decode_bytes_per_s *= *rate->file_order_decode_bytes_per_s / rate->decode_bytes_per_s;
    rate->decode_bytes_per_s = *rate->file_order_decode_bytes_per_s;
    rate->file_order_decode_bytes_per_s = rate->turn_back_bytes_per_s = std::nullopt;
  }
  return compute;
}

/// The rate at which a thread turns weights of this type back to the file's layout; unset where that is not
/// needed, and where it was not measured.
std::optional<double> rate_of_turning(ggml_type type, const hardware::Compute& compute) {
  const hardware::KernelRate* const rate = compute.find(ggml_type_name(type));
  return rate != nullptr ? rate->turn_back_bytes_per_s : std::nullopt;
}

/// All matrices of one kind, experts or others: the time that the cores take for them, and their bytes.
class Weights {
 public:
  Weights(const model::ModelProfile& profile, bool experts)
      : columns_(experts ? share_of_experts(profile) : 1) {
    for (const model::TensorInfo& tensor : profile.tensors) {
      if (!is_sent(tensor, experts)) continue;
      weights_[{tensor.type, tensor.shape[0]}] += static_cast<double>(tensor.rows() * tensor.shape[0]);
      bytes_ += static_cast<double>(tensor.bytes.value);
    }
  }
  [[nodiscard]] double host_seconds(std::int64_t tokens, const hardware::Compute& compute) const {
    const double multiplied = static_cast<double>(tokens) * columns_;  // columns of each weight, on average
    double seconds = 0;
    for (const auto& [kind, count] : weights_) {
      const Products products{kind.first,         true,       false, std::max(multiplied, 1.0),
                              count * multiplied, kind.second};
      seconds += product_seconds(products, compute);
    }
    return seconds;
  }
  /// The smallest number of tokens for which sending takes less time than the cores; kNever where there is
  /// none.
  [[nodiscard]] std::int64_t worth_from(const hardware::Compute& compute, double bytes_per_s) const {
    const double sending = link_seconds(compute, bytes_per_s, turning_threads(compute, bytes_per_s));
    for (std::int64_t tokens = 2; tokens <= kMostTokens && bytes_ > 0; ++tokens) {
      if (host_seconds(tokens, compute) >= sending) return tokens;
    }
    return kNever;
  }
  /// The time to send all of them, where `threads` threads turn back what the host keeps in another layout.
  [[nodiscard]] double link_seconds(const hardware::Compute& compute, double bytes_per_s, int threads) const {
    double seconds = 0;
    for (const auto& [kind, count] : weights_) {
      const double bytes = count * bytes_per_weight(kind.first);
      const auto turned = rate_of_turning(kind.first, compute);
      seconds += bytes / std::min(bytes_per_s, turned ? threads * *turned : bytes_per_s);
    }
    return seconds;
  }
  /// The threads that all types need.
  [[nodiscard]] int turning_threads(const hardware::Compute& compute, double bytes_per_s) const {
    int most = 1;
    for (const auto& [kind, count] : weights_) {
      const auto turned = rate_of_turning(kind.first, compute);
      if (turned) most = std::max(most, plan::turning_threads(*turned, bytes_per_s, compute.threads));
    }
    return most;
  }

 private:
  // Columns that a token adds to each matrix, on average.
  const double columns_;
  // Number of weights by type and row length.
  std::map<std::pair<ggml_type, std::int64_t>, double> weights_;
  double bytes_ = 0;
};

/// Bytes of the largest matrix of one kind, on a device.
Bytes largest(const model::ModelProfile& profile, bool experts) {
  Bytes out;
  for (const model::TensorInfo& tensor : profile.tensors) {
    if (is_sent(tensor, experts)) out = std::max(out, tensor.bytes + row_padding(tensor));
  }
  return out;
}

/// Bytes of the matrices of the largest layer on a device, without experts.
Bytes largest_layer(const model::ModelProfile& profile) {
  std::map<int, Bytes> layers;
  for (const model::TensorInfo& tensor : profile.tensors) {
    if (is_sent(tensor, false)) layers[*tensor.layer] += tensor.bytes + row_padding(tensor);
  }
  Bytes out;
  for (const auto& [layer, bytes] : layers) out = std::max(out, bytes);
  return out;
}

/// Query heads for each head of the cache from which on cells cross the link.
std::int64_t heads_of_attention(const hardware::Compute& compute, double bytes_per_s) {
  constexpr double kBytesForMultiplication =
      2;  // a cell in F16: one multiplication with each value, of 2 bytes
  const double heads =
      kBusyLink * kBytesForMultiplication * compute.attention.prompt_multiplications_per_s / bytes_per_s;
  return std::clamp<std::int64_t>(static_cast<std::int64_t>(std::ceil(heads)), 1, kMostTokens);
}

}  // namespace

TransferPolicy assumed_transfer_policy(const model::ModelProfile& profile) {
  return {.min_batch = kColumns,
          .min_batch_of_experts = static_cast<std::int64_t>(kColumns / share_of_experts(profile)),
          .turning_threads = kTurningThreads};
}

TransferPolicy measured_transfer_policy(const model::ModelProfile& profile, const hardware::Compute& measured,
                                        std::optional<double> bytes_per_s) {
  if (!bytes_per_s) return assumed_transfer_policy(profile);
  const hardware::Compute compute = in_layouts(measured, host_layout(profile, measured, *bytes_per_s));
  const Weights experts(profile, true);
  const Weights others(profile, false);
  // A missing expert is multiplied with one column, or crosses the link. All experts together stand for each
  // of them.
  const double for_each = experts.host_seconds(1, compute) / share_of_experts(profile);
  const double sending = experts.link_seconds(compute, *bytes_per_s, compute.threads);
  return {.min_batch = others.worth_from(compute, *bytes_per_s),
          .min_batch_of_experts = experts.worth_from(compute, *bytes_per_s),
          .min_heads_of_attention = heads_of_attention(compute, *bytes_per_s),
          .missing_experts = for_each > sending,
          .turning_threads = std::max(experts.turning_threads(compute, *bytes_per_s),
                                      others.turning_threads(compute, *bytes_per_s))};
}

TransferPolicy measured_transfer_policy(const model::ModelProfile& profile, const hardware::Profile& machine,
                                        const hardware::Gpu& gpu) {
  TransferPolicy out = measured_transfer_policy(profile, machine.compute, gpu.host_to_device_bytes_per_s);
  out.step_rates = step_rates(profile, machine, gpu);
  return out;
}

void add_rings(std::span<DeviceBudget> devices, const model::ModelProfile& profile,
               const TransferPolicy& transfer_policy, std::int64_t ubatch) {
  Bytes ring = largest(profile, false) * 3;
  if (devices.size() > 1) ring = std::max(ring, largest_layer(profile));
  ring += row_buffers(profile, transfer_policy.rows).total();
  for (DeviceBudget& device : devices) {
    device.rows = transfer_policy.rows;
    if (transfer_policy.min_batch <= ubatch || !device.rows.empty()) device.ring = align_up(ring, kMiB);
    if (transfer_policy.min_batch_of_experts <= ubatch)
      device.expert_ring = align_up(largest(profile, true) * 2, kMiB);
  }
}

}  // namespace brimful::plan
