#include "plan/device_split.h"

#include <algorithm>
#include <map>
#include <optional>
#include <set>
#include <span>
#include <utility>

#include "base/check.h"
#include "model/heads.h"
#include "plan/sent_layers.h"
#include "plan/split_layers.h"

namespace brimful::plan {
namespace {

// Alignment of a tensor in a CUDA buffer.
constexpr Bytes kAlignment{256};

// Memory on a device for the numbers of the experts that a step picks.
constexpr Bytes kSlotNumbers{64 << 10};

Bytes padded(const model::ModelProfile& profile, std::uint32_t tensor) {
  const model::TensorInfo& info = profile.tensors[tensor];
  return align_up(info.bytes + row_padding(info), kAlignment);
}

bool contains(const std::vector<std::uint32_t>& tensors, std::uint32_t tensor) {
  return std::ranges::find(tensors, tensor) != tensors.end();
}

// The least that lies on a device of half a layer of the host: the hidden state crosses the link for it
// twice more, which takes as long as the cores take to read about as many bytes.
constexpr Bytes kWorthTheCrossing{4ULL << 20};

// The output goes first where it takes at most this part of the room.
constexpr std::uint64_t kPartForOutput = 4;

/// Fills devices, one after the other, and knows what lies on the earlier ones.
class Filler {
 public:
  Filler(const model::ModelProfile& profile, const HostDemand& demand,
         const PlacementFilter& placement_filter)
      : profile_(profile),
        demand_(demand),
        may_lie_on_(placement_filter),
        layers_(layers_of(profile, demand.uses)) {
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

  /// Fills a device with weights that every token uses and with cells of the KV cache, up to `share` of its
  /// room. With `costs`, cells and weights of a layer may lie in different places.
  void fill(DeviceShare& device, double share, const std::optional<StepCosts>& costs) {
    costs_ = costs;
    left_ = Bytes{static_cast<std::uint64_t>(static_cast<double>(device.unused.value) * share)};
    const Bytes kept = device.unused - left_;
    const std::vector<std::uint32_t> own = missing(device, shared_);
    const Bytes before = left_;
    if (put(device, own)) {
      put_output_first(device);
      if (costs_) put_cells(device);
      put_layers(device);
      // The shared tensors alone are of no use.
      if (device.tensors.size() == own.size() && device.layers_of_cells == 0) {
        left_ = before;
        device.weights = {};
        device.tensors.clear();
      }
    }
    device.unused = left_ + kept;
    rooms_.push_back(left_);
    const bool all = done_.size() == layers_.size();
    for (const std::uint32_t tensor : device.tensors) {
      if (all || !contains(shared_, tensor)) placed_.insert(tensor);
    }
  }

  /// Distributes experts over the room that fill() has left on the devices, which are those it was called
  /// for, in the same order. `cache` is DeviceBudget::caches_experts.
  void fill_with_experts(std::span<DeviceShare* const> devices, bool cache) {
    std::vector<ExpertGroup> groups = find_expert_groups(profile_, demand_.uses);
    if (groups.empty()) return;
    const std::vector<std::vector<std::uint32_t>> whole = place_matrices(devices, groups);
    std::size_t fit = 0;
    for (const auto& tensors : whole) fit += tensors.size();
    if (!cache || fit == count_placeable(devices, groups)) {
      for (std::size_t d = 0; d < devices.size(); ++d) put_whole(*devices[d], whole[d]);
      return;
    }
    Bytes room;
    for (const Bytes left : rooms_) room += left;
    Bytes experts;
    for (const ExpertGroup& group : groups) experts += group.expert * group.experts;
    std::size_t next = 0;
    // Bytes of the groups that were distributed.
    double dealt = 0;
    double due = 0;
    for (std::size_t d = 0; d < devices.size() && room > Bytes{}; ++d) {
      due += static_cast<double>(experts.value) * static_cast<double>(rooms_[d].value) /
             static_cast<double>(room.value);
      std::vector<ExpertGroup> own;
      for (; next < groups.size() && dealt < due - 1; ++next) {
        dealt += static_cast<double>((groups[next].expert * groups[next].experts).value);
        const auto lies = [&](const ExpertPart& part) { return may_lie(*devices[d], part.tensor); };
        if (std::ranges::all_of(groups[next].parts, lies)) own.push_back(groups[next]);
      }
      put_slots(*devices[d], std::move(own), rooms_[d]);
    }
  }

  [[nodiscard]] const std::set<std::uint32_t>& placed() const { return placed_; }

 private:
  [[nodiscard]] bool may_lie(const DeviceShare& device, std::uint32_t tensor) const {
    return !may_lie_on_ || may_lie_on_(device.name, profile_, profile_.tensors[tensor]);
  }

  /// Those of `tensors` that lie on no device, and may lie on this one.
  [[nodiscard]] std::vector<std::uint32_t> missing(const DeviceShare& device,
                                                   const std::vector<std::uint32_t>& tensors) const {
    std::vector<std::uint32_t> out;
    std::ranges::copy_if(tensors, std::back_inserter(out), [&](std::uint32_t tensor) {
      return !placed_.contains(tensor) && !contains(device.tensors, tensor) && may_lie(device, tensor);
    });
    return out;
  }

  [[nodiscard]] Bytes size_of(const std::vector<std::uint32_t>& tensors) const {
    Bytes out;
    for (const std::uint32_t tensor : tensors) out += padded(profile_, tensor);
    return out;
  }

  /// Puts all of `tensors` on the device, with the KV cache of their layer; or nothing, where that does not
  /// fit.
  bool put(DeviceShare& device, const std::vector<std::uint32_t>& tensors, Bytes kv = {}) {
    const Bytes weights = size_of(tensors);
    if (weights + kv > left_) return false;
    left_ -= weights + kv;
    device.tensors.insert(device.tensors.end(), tensors.begin(), tensors.end());
    device.weights += weights;
    device.kv_cache += kv;
    return true;
  }

  /// Puts layers on the device in their order, and what is left of them in pieces that cost no crossing of
  /// the link, or that are worth one.
  void put_layers(DeviceShare& device) {
    for (const auto& [index, layer] : layers_) {
      if (done_.contains(index)) continue;
      const std::vector<std::uint32_t> tensors = missing(device, layer.tensors);
      const bool cells_elsewhere = layer.attends && !attending_.contains(index);
      const bool with_cells = cells_elsewhere && !costs_;
      const bool pays = !costs_ || !cells_elsewhere || saves_a_detour(size_of(tensors));
      if (tensors.empty() || !pays || !put(device, tensors, with_cells ? kv_of(index) : Bytes{})) {
        if (!tensors.empty() && (with_cells || (costs_ && !cells_elsewhere)))
          put_first_half(device, index, tensors);
        break;
      }
      done_.insert(index);
      if (layer.attends) ++device.layers;
      if (with_cells) attend(device, index);
    }
    put_last_half(device);
    put_single(device);
  }

  void attend(DeviceShare& device, int layer) {
    attending_.insert(layer);
    ++device.layers_of_cells;
  }

  [[nodiscard]] Bytes kv_of(int layer) const {
    if (demand_.kv_of_layers.empty()) return kv_of_layer_;
    const auto known = demand_.kv_of_layers.find(layer);
    return known != demand_.kv_of_layers.end() ? known->second : Bytes{};
  }

  /// Whether a step becomes faster by so many bytes of weights on the device, where it leaves its place for
  /// them once more.
  [[nodiscard]] bool saves_a_detour(Bytes weights) const {
    return static_cast<double>(weights.value) * (costs_->weights_on_host - costs_->weights_on_device) >
           costs_->detour;
  }

  /// Puts the cells of the layers behind those of earlier devices on the device, as many as make a step the
  /// fastest.
  void put_cells(DeviceShare& device) {
    std::vector<int> indices;
    std::vector<LayerBytes> sizes;
    for (const auto& [index, layer] : layers_) {
      if (!layer.attends || attending_.contains(index)) continue;
      const std::vector<std::uint32_t> tensors = missing(device, layer.tensors);
      const std::vector<std::uint32_t> of_attention = missing(device, layer.of_attention);
      // Attention needs its weights beside the cells.
      const bool may_attend = of_attention.size() == layer.of_attention.size();
      if (!may_attend || (tensors.empty() && !done_.contains(index))) break;
      const Bytes beside = size_of(of_attention);
      indices.push_back(index);
      sizes.push_back({saturating_sub(size_of(tensors), beside), kv_of(index) + beside, layer.has_experts});
    }
    indices.resize(layers_with_cells(sizes, left_, *costs_));
    for (const int index : indices) {
      const bool fits = put(device, missing(device, layers_.at(index).of_attention), kv_of(index));
      BRIMFUL_CHECK(fits);
      attend(device, index);
    }
  }

  /// Puts the attention of a layer on the device that has all layers before it: the hidden state crosses
  /// behind it instead of before it.
  void put_first_half(DeviceShare& device, int index, const std::vector<std::uint32_t>& tensors) {
    std::vector<std::uint32_t> half;
    std::ranges::copy_if(tensors, std::back_inserter(half),
                         [&](std::uint32_t tensor) { return !is_feed_forward(profile_.tensors[tensor]); });
    const bool with_cells = !attending_.contains(index);
    if (half.empty() || half.size() == tensors.size()) return;
    if (!put(device, half, with_cells ? kv_of(index) : Bytes{})) return;
    ++device.layers;
    if (with_cells) attend(device, index);
  }

  /// Puts the feed-forward part of the last layer, or its last matrix, on the device that has the output.
  void put_last_half(DeviceShare& device) {
    const auto output = layers_.find(static_cast<int>(profile_.layers));
    const auto last = layers_.find(static_cast<int>(profile_.layers) - 1);
    if (output == layers_.end() || last == layers_.end() || last->second.has_experts) return;
    const auto lies = [&](std::uint32_t tensor) { return contains(device.tensors, tensor); };
    if (std::ranges::none_of(output->second.tensors, lies)) return;
    std::vector<std::uint32_t> half = missing(device, last->second.tensors);
    std::erase_if(half, [&](std::uint32_t tensor) { return !is_feed_forward(profile_.tensors[tensor]); });
    if (put(device, half)) return;
    std::erase_if(half,
                  [&](std::uint32_t tensor) { return !profile_.tensors[tensor].name.contains("ffn_down"); });
    put(device, half);
  }

  /// Puts matrices of the host's layers on the device: in each half of a layer as many as fit, where they are
  /// worth two more crossings. Where somebody chooses what may lie where, all that fits.
  void put_single(DeviceShare& device) {
    for (const bool feed_forward : {true, false}) {
      for (const auto& [index, layer] : layers_) {
        std::vector<std::uint32_t> half = missing(device, layer.tensors);
        std::erase_if(half, [&](std::uint32_t tensor) {
          return is_feed_forward(profile_.tensors[tensor]) != feed_forward;
        });
        half = largest_that_fit(std::move(half));
        const Bytes size = size_of(half);
        const bool pays = size >= kWorthTheCrossing && (!costs_ || !layer.attends || saves_a_detour(size));
        if (may_lie_on_ || pays) put(device, half);
      }
    }
  }

  /// As many of `tensors` as fit, the largest first.
  [[nodiscard]] std::vector<std::uint32_t> largest_that_fit(std::vector<std::uint32_t> tensors) const {
    std::ranges::stable_sort(tensors, std::greater{},
                             [&](std::uint32_t t) { return profile_.tensors[t].bytes; });
    Bytes left = left_;
    std::erase_if(tensors, [&](std::uint32_t tensor) {
      const Bytes bytes = padded(profile_, tensor);
      const bool fits = bytes <= left;
      if (fits) left -= bytes;
      return !fits;
    });
    return tensors;
  }

  /// Puts the output on a device with a ring. Where weights are sent for batches, the output is too large for
  /// the ring, and the cores alone would have to compute it.
  void put_output_first(DeviceShare& device) {
    const auto output = layers_.find(static_cast<int>(profile_.layers));
    if (device.ring == Bytes{} || output == layers_.end() || done_.contains(output->first)) return;
    const std::vector<std::uint32_t> tensors = missing(device, output->second.tensors);
    if (tensors.empty() || size_of(tensors) * kPartForOutput > left_) return;
    put(device, tensors);
    done_.insert(output->first);
  }

  /// The number of expert matrices that may lie on any of the devices.
  [[nodiscard]] std::size_t count_placeable(std::span<DeviceShare* const> devices,
                                            const std::vector<ExpertGroup>& groups) const {
    std::size_t count = 0;
    for (const ExpertGroup& group : groups) {
      count += static_cast<std::size_t>(std::ranges::count_if(group.parts, [&](const ExpertPart& part) {
        return std::ranges::any_of(devices, [&](const DeviceShare* d) { return may_lie(*d, part.tensor); });
      }));
    }
    return count;
  }

  /// For each device, as many whole matrices of experts as fit.
  [[nodiscard]] std::vector<std::vector<std::uint32_t>> place_matrices(
      std::span<DeviceShare* const> devices, const std::vector<ExpertGroup>& groups) const {
    std::vector<std::vector<std::uint32_t>> out(devices.size());
    std::set<std::uint32_t> done;
    for (std::size_t d = 0; d < devices.size(); ++d) {
      Bytes left = rooms_[d];
      for (const ExpertGroup& group : groups) {
        for (const ExpertPart& part : group.parts) {
          const Bytes bytes = padded(profile_, part.tensor);
          if (done.contains(part.tensor) || !may_lie(*devices[d], part.tensor) || bytes > left) continue;
          left -= bytes;
          done.insert(part.tensor);
          out[d].push_back(part.tensor);
        }
      }
    }
    return out;
  }

  /// Puts whole tensors on a device.
  void put_whole(DeviceShare& device, const std::vector<std::uint32_t>& tensors) {
    for (const std::uint32_t tensor : tensors) {
      device.tensors.push_back(tensor);
      device.weights += padded(profile_, tensor);
      device.unused -= padded(profile_, tensor);
      placed_.insert(tensor);
    }
  }

  /// Gives the groups as many slots as `room` holds: first to each as many as a token picks experts, because
  /// fewer cannot be used, and then one to each in turn. A group that gets slots for all experts lies on the
  /// device as a whole.
  void put_slots(DeviceShare& device, std::vector<ExpertGroup> groups, Bytes room) {
    const auto bytes_of = [&](const ExpertGroup& group, std::uint32_t slots) {
      Bytes bytes;
      if (slots == 0) return bytes;
      for (const ExpertPart& part : group.parts)
        bytes += align_up(part.bytes * slots + row_padding(profile_.tensors[part.tensor]), kAlignment);
      return bytes;
    };
    if (room < kSlotNumbers) return;
    Bytes left = room - kSlotNumbers;
    for (bool more = true; more;) {
      more = false;
      for (ExpertGroup& group : groups) {
        if (group.slots == group.experts) continue;
        const std::uint32_t first = std::clamp(profile_.experts_used, 1U, group.experts);
        const std::uint32_t next = std::max(group.slots + 1, first);
        const Bytes bytes = bytes_of(group, next) - bytes_of(group, group.slots);
        if (bytes > left) continue;
        left -= bytes;
        group.slots = next;
        more = true;
      }
    }
    for (const ExpertGroup& group : groups) {
      std::vector<std::uint32_t> tensors;
      for (const ExpertPart& part : group.parts) tensors.push_back(part.tensor);
      if (group.slots == group.experts) {
        put_whole(device, tensors);
      } else if (group.slots > 0) {
        device.experts += bytes_of(group, group.slots);
        device.groups.push_back({std::move(tensors), group.slots});
      }
    }
    if (device.groups.empty()) return;
    device.experts += kSlotNumbers;
    device.unused -= device.experts;
  }

  const model::ModelProfile& profile_;
  const HostDemand& demand_;
  const PlacementFilter& may_lie_on_;
  const std::map<int, SplitLayer> layers_;
  // Small weights that belong to no layer: each device has its own copy.
  std::vector<std::uint32_t> shared_;
  // The mean, where the demand does not know those of each layer.
  Bytes kv_of_layer_;
  // Those of the device that is being filled.
  std::optional<StepCosts> costs_;
  // Layers that lie on a device as a whole, or the rest of which lies on an earlier one.
  std::set<int> done_;
  // Layers whose KV cache lies on a device.
  std::set<int> attending_;
  // Room on the device that is being filled.
  Bytes left_;
  // Weights that the host does not compute with any more.
  std::set<std::uint32_t> placed_;
  // For each device that was filled: the room that is left.
  std::vector<Bytes> rooms_;
};

/// Whether the products of batches with this weight of the host can be computed on a device. `experts` says
/// which of the two kinds is asked for.
bool can_be_sent(const model::ModelProfile& profile, const TensorUse& use, bool experts) {
  return (use.by_rows || use.whole) && use.expert_group.has_value() == experts &&
         profile.tensors[use.tensor].layer.has_value();
}

/// A ring for experts may take this part of the room at most: slots for experts serve every token.
constexpr std::uint64_t kPartForExpertRing = 4;

/// Fills the devices, with the rings that `budgets` ask for where there is room.
DeviceSplit fill_devices(const model::ModelProfile& profile, const HostDemand& demand,
                         const std::vector<DeviceBudget>& budgets, double share,
                         const PlacementFilter& placement_filter) {
  DeviceSplit out{.host = demand};
  // The host computes the heads, so none of their weights lies on a device.
  HostDemand without_heads = demand;
  const std::uint32_t first_head = profile.layers - model::head_layers(profile);
  std::erase_if(without_heads.uses, [&](const TensorUse& use) {
    const std::optional<int> layer = profile.tensors[use.tensor].layer;
    return layer && std::cmp_greater_equal(*layer, first_head);
  });
  Filler filler(profile, without_heads, placement_filter);
  std::vector<std::size_t> filled;
  for (const DeviceBudget& budget : budgets) {
    DeviceShare device{
        .name = budget.name, .gpu = budget.gpu, .budget = budget.budget, .unused = budget.budget};
    const Bytes runtime = budget.gpu.runtime.value_or(kUnknownRuntime);
    const Bytes compute = budget.compute.value_or(demand.compute);
    if (share > 0 && runtime + compute <= budget.budget) {
      device.runtime = runtime;
      device.compute = compute;
      device.unused = budget.budget - runtime - compute;
      device.ring_for_experts =
          budget.expert_ring > Bytes{} && budget.expert_ring * kPartForExpertRing <= device.unused;
      if (device.ring_for_experts) device.ring = budget.expert_ring;
      if (budget.ring <= device.unused) device.ring = std::max(device.ring, budget.ring);
      device.unused -= device.ring;
      filler.fill(device, share, budget.step_costs);
      filled.push_back(out.devices.size());
    }
    out.devices.push_back(std::move(device));
  }
  std::vector<DeviceShare*> with_room;
  for (const std::size_t index : filled) with_room.push_back(&out.devices[index]);
  filler.fill_with_experts(with_room, std::ranges::all_of(budgets, &DeviceBudget::caches_experts));
  Bytes kv_on_devices;
  for (const DeviceShare& device : out.devices) {
    kv_on_devices += device.kv_cache;
    out.weights += device.weights + device.experts;
  }
  std::erase_if(out.host.uses,
                [&](const TensorUse& use) { return filler.placed().contains(use.tensor) && !use.gather; });
  for (TensorUse& use : out.host.uses) {
    if (filler.placed().contains(use.tensor))
      use.by_rows = use.whole = false;  // the host only gathers from it
  }
  out.host.kv_cache = saturating_sub(demand.kv_cache, kv_on_devices);
  deal_sent_layers(profile, budgets, out);
  return out;
}

/// The sum of a count of all devices as a share of the model's layers.
double share_of(const DeviceSplit& split, const model::ModelProfile& profile,
                std::uint32_t DeviceShare::*count) {
  std::uint32_t layers = 0;
  for (const DeviceShare& device : split.devices) layers += device.*count;
  return profile.layers > 0 ? std::min(1.0, static_cast<double>(layers) / profile.layers) : 0;
}

}  // namespace

double DeviceSplit::share_of_cells(const model::ModelProfile& profile) const {
  return share_of(*this, profile, &DeviceShare::layers_of_cells);
}

double DeviceSplit::share_of_layers(const model::ModelProfile& profile) const {
  return share_of(*this, profile, &DeviceShare::layers);
}

DeviceSplit split_devices(const model::ModelProfile& profile, const HostDemand& demand,
                          const std::vector<DeviceBudget>& budgets, double share,
                          const PlacementFilter& placement_filter) {
  std::vector<DeviceBudget> with_rings = budgets;
  for (DeviceBudget& budget : with_rings) budget.ring = budget.expert_ring = {};
  DeviceSplit out = fill_devices(profile, demand, with_rings, share, placement_filter);
  bool rings = false;
  for (const bool experts : {false, true}) {
    const auto is_sent = [&](const TensorUse& use) { return can_be_sent(profile, use, experts); };
    if (std::ranges::none_of(out.host.uses, is_sent)) continue;
    const auto ring = experts ? &DeviceBudget::expert_ring : &DeviceBudget::ring;
    for (std::size_t i = 0; i < budgets.size(); ++i) {
      with_rings[i].*ring = budgets[i].*ring;
      rings = rings || budgets[i].*ring > Bytes{};
    }
  }
  return rings ? fill_devices(profile, demand, with_rings, share, placement_filter) : out;
}

}  // namespace brimful::plan
