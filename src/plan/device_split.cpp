#include "plan/device_split.h"

#include <algorithm>
#include <map>
#include <set>

namespace strata::plan {
namespace {

constexpr Bytes kAlignment{256};  // of a tensor in a CUDA buffer

struct Layer {
  std::vector<std::uint32_t> tensors;  // that every token uses
  std::vector<std::uint32_t> experts;
  bool attends = false;  // has a share of the KV cache
};

Bytes padded(const model::ModelProfile& profile, std::uint32_t tensor) {
  return align_up(profile.tensors[tensor].bytes, kAlignment);
}

bool contains(const std::vector<std::uint32_t>& tensors, std::uint32_t tensor) {
  return std::ranges::find(tensors, tensor) != tensors.end();
}

std::map<int, Layer> layers_of(const model::ModelProfile& profile, const std::vector<TensorUse>& uses) {
  std::map<int, Layer> layers;
  for (const TensorUse& use : uses) {
    if (!use.by_rows && !use.whole) continue;
    const model::TensorInfo& tensor = profile.tensors[use.tensor];
    // The output comes last, as a layer of its own.
    Layer& layer = layers[tensor.layer.value_or(static_cast<int>(profile.layers))];
    (use.expert_group ? layer.experts : layer.tensors).push_back(use.tensor);
    layer.attends |= tensor.layer.has_value();
  }
  return layers;
}

class Filler {
 public:
  Filler(const model::ModelProfile& profile, const Demand& demand, const MayLieOn& may_lie_on)
      : profile_(profile), may_lie_on_(may_lie_on), layers_(layers_of(profile, demand.uses)) {
    const auto attending = std::ranges::count_if(layers_, [](const auto& l) { return l.second.attends; });
    kv_of_layer_ = attending > 0 ? Bytes{(demand.kv_cache.value + static_cast<std::uint64_t>(attending) - 1) /
                                         static_cast<std::uint64_t>(attending)}
                                 : Bytes{};
    for (const auto& [index, layer] : layers_) {
      if (layer.attends) continue;
      std::ranges::copy_if(layer.tensors, std::back_inserter(shared_),
                           [&](std::uint32_t tensor) { return profile.tensors[tensor].rows() == 1; });
    }
  }

  void fill(DeviceShare& device, double share) {
    const auto usable = static_cast<std::uint64_t>(static_cast<double>(device.unused.value) * share);
    const Bytes kept = device.unused - Bytes{usable};
    Bytes left{usable};
    const auto take = [&](Bytes bytes) {
      if (bytes > left) return false;
      left -= bytes;
      return true;
    };
    const auto put = [&](std::uint32_t tensor) {
      device.tensors.push_back(tensor);
      device.weights += padded(profile_, tensor);
    };
    const auto missing = [&](std::uint32_t tensor) {
      return !placed_.contains(tensor) && !contains(device.tensors, tensor) &&
             (!may_lie_on_ || may_lie_on_(device.name, profile_, profile_.tensors[tensor]));
    };
    Bytes shared;
    std::vector<std::uint32_t> own;
    std::ranges::copy_if(shared_, std::back_inserter(own), missing);
    for (const std::uint32_t tensor : own) shared += padded(profile_, tensor);
    if (!take(shared)) return;
    std::ranges::for_each(own, put);
    for (auto& [index, layer] : layers_) {
      if (done_.contains(index)) continue;
      Bytes weights;
      std::vector<std::uint32_t> tensors;  // an earlier device may have some of it
      std::ranges::copy_if(layer.tensors, std::back_inserter(tensors), missing);
      for (const std::uint32_t tensor : tensors) weights += padded(profile_, tensor);
      if (tensors.empty()) break;
      const Bytes kv = layer.attends ? kv_of_layer_ : Bytes{};
      if (!take(weights + kv)) break;  // layers stay in order: activations cross once
      std::ranges::for_each(tensors, put);
      device.kv_cache += kv;
      done_.insert(index);
      if (layer.attends) ++device.layers;
    }
    for (const bool experts : {false, true}) {
      for (const auto& [index, layer] : layers_) {
        for (const std::uint32_t tensor : experts ? layer.experts : layer.tensors) {
          if (missing(tensor) && take(padded(profile_, tensor))) put(tensor);
        }
      }
    }
    device.unused = left + kept;
    if (device.tensors.size() == own.size()) {  // by themselves they are of no use
      device.unused += shared;
      device.weights = {};
      device.tensors.clear();
    }
    const bool output = done_.contains(static_cast<int>(profile_.layers));
    for (const std::uint32_t tensor : device.tensors) {
      if (output || !contains(shared_, tensor)) placed_.insert(tensor);
    }
  }

  [[nodiscard]] const std::set<std::uint32_t>& placed() const { return placed_; }

 private:
  const model::ModelProfile& profile_;
  const MayLieOn& may_lie_on_;
  const std::map<int, Layer> layers_;
  std::vector<std::uint32_t> shared_;  // small, and of no layer: each device has its own
  Bytes kv_of_layer_;
  std::set<int> done_;
  std::set<std::uint32_t> placed_;
};

/// Products with such weights of the host can be computed on a device, for batches.
bool can_be_sent(const model::ModelProfile& profile, const TensorUse& use) {
  return (use.by_rows || use.whole) && !use.expert_group && profile.tensors[use.tensor].layer.has_value();
}

DeviceSplit fill_devices(const model::ModelProfile& profile, const Demand& demand,
                         const std::vector<DeviceBudget>& budgets, double share, const MayLieOn& may_lie_on) {
  DeviceSplit out{.host = demand};
  Filler filler(profile, demand, may_lie_on);
  Bytes kv_on_devices;
  std::uint32_t layers = 0;
  for (const DeviceBudget& budget : budgets) {
    DeviceShare device{
        .name = budget.name, .gpu = budget.gpu, .budget = budget.budget, .unused = budget.budget};
    const Bytes runtime = budget.gpu.runtime.value_or(kUnknownRuntime);
    const Bytes compute = budget.compute.value_or(demand.compute);
    if (share > 0 && runtime + compute <= budget.budget) {
      device.runtime = runtime;
      device.compute = compute;
      device.unused = budget.budget - runtime - compute;
      if (budget.ring <= device.unused) device.ring = budget.ring;
      device.unused -= device.ring;
      filler.fill(device, share);
    }
    kv_on_devices += device.kv_cache;
    layers += device.layers;
    out.weights += device.weights;
    out.devices.push_back(std::move(device));
  }
  std::erase_if(out.host.uses,
                [&](const TensorUse& use) { return filler.placed().contains(use.tensor) && !use.gather; });
  for (TensorUse& use : out.host.uses) {
    if (filler.placed().contains(use.tensor)) use.by_rows = use.whole = false;  // only gathered on the host
  }
  out.host.kv_cache = saturating_sub(demand.kv_cache, kv_on_devices);
  if (profile.layers > 0)
    out.share_of_attention = std::min(1.0, static_cast<double>(layers) / profile.layers);
  return out;
}

}  // namespace

DeviceSplit split_devices(const model::ModelProfile& profile, const Demand& demand,
                          const std::vector<DeviceBudget>& budgets, double share,
                          const MayLieOn& may_lie_on) {
  if (std::ranges::all_of(budgets, [](const DeviceBudget& budget) { return budget.ring == Bytes{}; }))
    return fill_devices(profile, demand, budgets, share, may_lie_on);
  std::vector<DeviceBudget> without_rings = budgets;
  for (DeviceBudget& budget : without_rings) budget.ring = {};
  DeviceSplit out = fill_devices(profile, demand, without_rings, share, may_lie_on);
  const bool some_can_be_sent =
      std::ranges::any_of(out.host.uses, [&](const TensorUse& use) { return can_be_sent(profile, use); });
  return some_can_be_sent ? fill_devices(profile, demand, budgets, share, may_lie_on) : out;
}

}  // namespace strata::plan
