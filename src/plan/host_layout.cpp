#include "plan/host_layout.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <set>

namespace brimful::plan {
namespace {

// The share of a decode pass that ggml's layout must save.
constexpr double kLeastGain = 0.03;

/// The types of the model's matrices.
std::set<ggml_type> types_of(const model::ModelProfile& profile) {
  std::set<ggml_type> out;
  for (const model::TensorInfo& tensor : profile.tensors) {
    if (tensor.rows() > 1) out.insert(tensor.type);
  }
  return out;
}

}  // namespace

int turning_threads(double bytes_per_s, double link_bytes_per_s, int threads) {
  const double most = std::clamp(threads - 1, 1, kMostTurningThreads);
  return static_cast<int>(std::clamp(std::ceil(link_bytes_per_s / bytes_per_s), 1.0, most));
}

HostLayout host_layout(const model::ModelProfile& profile, const hardware::Compute& compute,
                       double link_bytes_per_s) {
  HostLayout out;
  for (const ggml_type type : types_of(profile)) {
    const hardware::KernelRate* const rate = compute.find(ggml_type_name(type));
    if (rate == nullptr || !rate->file_order_decode_bytes_per_s || !rate->turn_back_bytes_per_s) continue;
    // Seconds for each byte.
    const double in_file_order = 1 / *rate->file_order_decode_bytes_per_s;
    const double gain = in_file_order - 1 / rate->decode_bytes_per_s;
    const double turned_back = *rate->turn_back_bytes_per_s;
    const int threads = turning_threads(turned_back, link_bytes_per_s, compute.threads);
    const double loss = 1 / (threads * turned_back) - 1 / link_bytes_per_s;
    const bool saves = gain > kLeastGain * in_file_order;
    if (saves && gain >= loss) continue;
    out.in_file_order.push_back(type);
    out.notes.push_back(fmt::format(
        "weights in {} keep the file's layout in RAM: {}", ggml_type_name(type),
        saves ? "with the faster one, a batch would lose more time while they are sent than a token saves"
              : "another one saves hardly any time here"));
  }
  return out;
}

HostLayout all_in_file_order(const model::ModelProfile& profile) {
  const std::set<ggml_type> types = types_of(profile);
  return {.in_file_order = {types.begin(), types.end()}, .notes = {}};
}

}  // namespace brimful::plan
