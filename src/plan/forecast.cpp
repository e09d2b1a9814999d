#include "plan/forecast.h"

#include <algorithm>
#include <cmath>
#include <map>
#include <set>
#include <span>

#include "plan/host_layout.h"
#include "plan/layer_places.h"

namespace brimful::plan {
namespace {

// What is assumed of GPUs, as no probe measures it. docs/adr/0021-one-story.md has the sources.

/// The time to start a kernel.
constexpr double kDeviceSecondsPerNode = 3e-6;
/// In long batches, weights of 16 bits are multiplied this many times as fast as quantised ones, because
/// tensor cores need no scale for each block.
constexpr double kHalfByQuantised = 1.35;
constexpr double kUnknownMultiplications = 10e12;  // multiply-adds/s

/// The share of each kind of weights that is used on devices. Experts in slots count as often as chance finds
/// them there.
class DeviceParts {
 public:
  DeviceParts(const model::ModelProfile& profile, const std::vector<TensorUse>& all_uses,
              const DeviceSplit& split, bool slots) {
    std::map<std::uint32_t, double> placed;
    for (const DeviceShare& device : split.devices) {
      for (const std::uint32_t tensor : device.tensors) placed[tensor] = 1;
      for (const CachedExperts& group : device.groups) {
        const double experts = static_cast<double>(profile.tensors[group.tensors.front()].shape[2]);
        for (const std::uint32_t tensor : group.tensors)
          placed[tensor] = slots ? static_cast<double>(group.slots) / experts : 0;
      }
    }
    for (const TensorUse& use : all_uses) {
      if (!use.by_rows && !use.whole) continue;
      auto& [on, all] = parts_[{profile.tensors[use.tensor].type, use.expert_group.has_value()}];
      const auto bytes = static_cast<double>(profile.tensors[use.tensor].bytes.value);
      all += bytes;
      if (const auto part = placed.find(use.tensor); part != placed.end()) on += bytes * part->second;
    }
  }
  [[nodiscard]] double of(const Products& products) const {
    const auto known = parts_.find({products.type, products.experts});
    return known == parts_.end() || known->second.second == 0 ? 0
                                                              : known->second.first / known->second.second;
  }

 private:
  std::map<std::pair<ggml_type, bool>, std::pair<double, double>> parts_;
};

/// The rows of the host's matrices that devices multiply in passes of few tokens. A matrix is divided only
/// while all of it is resident.
class RowsByDevice {
 public:
  RowsByDevice(const model::ModelProfile& profile, const HostPlan& plan, const DeviceSplit& split) {
    std::set<std::uint32_t> resident;
    for (const Unit& unit : plan.placement.units) {
      if (unit.resident) resident.insert(unit.tensor);
    }
    for (const Unit& unit : plan.placement.units) {
      if (!unit.resident) resident.erase(unit.tensor);
    }
    for (const DeviceShare& device : split.devices) {
      const std::size_t before = count_;
      for (const DeviceRows& rows : device.rows) {
        if (!resident.contains(rows.tensor)) continue;
        const auto bytes = static_cast<double>(bytes_of(profile, std::span(&rows, 1)).value);
        by_type_[profile.tensors[rows.tensor].type].first += bytes;
        bytes_ += bytes;
        ++count_;
      }
      if (count_ == before) continue;
      link_ += device.gpu.host_to_device_bytes_per_s.value_or(kUnknownLink);
      if (gpu_ == nullptr) gpu_ = &device.gpu;
    }
    for (const TensorUse& use : plan.demand.uses) {
      if ((use.by_rows || use.whole) && !use.expert_group)
        by_type_[profile.tensors[use.tensor].type].second +=
            static_cast<double>(profile.tensors[use.tensor].bytes.value);
    }
  }

  /// Whether devices multiply rows in a pass of so many tokens.
  [[nodiscard]] bool used_for(std::int64_t tokens) const {
    return count_ > 0 && tokens <= kMostColumnsOfRows;
  }

  /// Takes the rows out of the host's work.
  void take_from(GraphWork& host) const {
    for (Products& products : host.products) {
      const auto known = by_type_.find(products.type);
      if (products.experts || known == by_type_.end() || known->second.second == 0) continue;
      products.multiplications *= 1 - known->second.first / known->second.second;
    }
  }

  /// Adds the time for which the host waits for the rows. `host` is the work that is left to it. The link and
  /// the cores read at once, and memory has a rate for both together.
  void add_to(PassCost& cost, const GraphWork& host, const hardware::Profile& machine) const {
    double bytes = bytes_;
    for (const Products& products : host.products)
      bytes += products.multiplications / products.columns * bytes_per_weight(products.type);
    const double rate = memory_beside_link(machine.ram, *gpu_).bytes_per_s;
    const double memory = rate > 0 ? bytes / rate : 0;
    const double link = bytes_ / link_;
    cost.seconds += std::max(0.0, std::max(link, memory) - cost.compute_seconds);
    cost.seconds +=
        static_cast<double>(count_) * (kSecondsPerDividedProduct + 2 * machine.compute.seconds_per_segment);
    cost.link_seconds += link;
    cost.rows_sent = Bytes{static_cast<std::uint64_t>(bytes_)};
  }

 private:
  // Bytes of these rows, and of all the host's matrices, experts left out.
  std::map<ggml_type, std::pair<double, double>> by_type_;
  // Bytes of all these rows.
  double bytes_ = 0;
  // The rate of all links together.
  double link_ = 0;
  // The first device with rows.
  const hardware::Gpu* gpu_ = nullptr;
  // Number of matrices that are divided.
  std::size_t count_ = 0;
};

struct DeviceRates {
  double memory = kUnknownMemoryRate;
  // Multiply-adds per second with quantised weights.
  double multiplications = kUnknownMultiplications;
  double link = kUnknownLink;

  [[nodiscard]] double multiplications_of(ggml_type type) const {
    return ggml_is_quantized(type) ? multiplications : multiplications * kHalfByQuantised;
  }
};

/// The rates of all devices together. Several devices work one after the other, so these are means, weighted
/// by the bytes that lie there; the links to devices with rings send at once.
DeviceRates rates_of(const DeviceSplit& split) {
  double weights = 0;
  double memory = 0;
  double multiplications = 0;
  DeviceRates out;
  double links = 0;
  for (const DeviceShare& device : split.devices) {
    const auto bytes = static_cast<double>((device.weights + device.experts).value);
    weights += bytes;
    memory += bytes / device.gpu.memory_bytes_per_s.value_or(kUnknownMemoryRate);
    multiplications += bytes / device.gpu.multiplications_per_s.value_or(kUnknownMultiplications);
    const double link = device.gpu.host_to_device_bytes_per_s.value_or(kUnknownLink);
    if (&device == &split.devices.front()) out.link = link;
    if (!device.sent_layers.empty()) links += link;
  }
  if (links > 0) out.link = links;
  if (weights > 0) {
    out.memory = weights / memory;
    out.multiplications = weights / multiplications;
  }
  return out;
}

/// The work that is left to the host, and the time of the devices for the rest.
struct Divided {
  GraphWork host;
  double device_seconds = 0;
};

/// Divides `work` with `cells` cells of the KV cache in use between the devices and the host.
Divided divide(const GraphWork& work, std::int64_t cells, const model::ModelProfile& profile,
               const DeviceParts& parts, const DeviceSplit& split) {
  Divided out{work, 0};
  if (split.weights.value == 0) return out;
  const DeviceRates rates = rates_of(split);
  for (Products& products : out.host.products) {
    const double part = parts.of(products);
    const double multiplications = products.multiplications * part;
    const double bytes = multiplications / products.columns * bytes_per_weight(products.type);
    out.device_seconds += std::max(bytes / (rates.memory * kDeviceEfficiency),
                                   multiplications / rates.multiplications_of(products.type));
    products.multiplications -= multiplications;
  }
  const double share = split.share_of_layers(profile);
  const double of_cells = split.share_of_cells(profile);
  const double used =
      work.cells > 0 ? of_cells * static_cast<double>(cells) / static_cast<double>(work.cells) : 0;
  const double attention = static_cast<double>(work.attention.value) * used;
  out.device_seconds +=
      std::max(attention / (rates.memory * kDeviceEfficiency),
               work.attention_multiplications * used / rates.multiplications_of(GGML_TYPE_F16));
  out.device_seconds += static_cast<double>(work.elements.value) * share / (rates.memory * kDeviceEfficiency);
  out.device_seconds += static_cast<double>(work.nodes) * share * kDeviceSecondsPerNode;
  out.host.attention =
      Bytes{static_cast<std::uint64_t>(static_cast<double>(work.attention.value) * (1 - of_cells))};
  out.host.attention_multiplications *= 1 - of_cells;
  out.host.elements =
      Bytes{static_cast<std::uint64_t>(static_cast<double>(work.elements.value) * (1 - share))};
  out.host.nodes = static_cast<std::int64_t>(static_cast<double>(work.nodes) * (1 - share));
  return out;
}

/// Whether the weights of `products` can be sent to a device.
bool sends(const DeviceSplit& split, const Products& products) {
  return !products.experts || std::ranges::any_of(split.devices, &DeviceShare::ring_for_experts);
}

/// The time that a pass takes on devices and on the way to them.
struct AwaySeconds {
  double device = 0;
  double link = 0;
  /// From the first to the last moment of both: copies go on while devices compute.
  double both = 0;
};

/// The rate at which the weights of `products` reach the devices: that of the links, or of the threads that
/// turn rows back to the file's layout, whichever is lower.
double sending_rate(const Products& products, const DeviceSplit& split, const hardware::Compute& compute) {
  const double links = rates_of(split).link;
  const hardware::KernelRate* const rate = compute.find(ggml_type_name(products.type));
  if (!products.repacked || rate == nullptr || !rate->turn_back_bytes_per_s) return links;
  double turned = 0;
  for (const DeviceShare& device : split.devices) {
    if (device.sent_layers.empty()) continue;
    const double link = device.gpu.host_to_device_bytes_per_s.value_or(kUnknownLink);
    turned +=
        *rate->turn_back_bytes_per_s * turning_threads(*rate->turn_back_bytes_per_s, link, compute.threads);
  }
  return turned > 0 ? std::min(links, turned) : links;
}

/// The time of the host's products when the device computes them, while their weights cross the link.
AwaySeconds across_link(const GraphWork& host, const DeviceSplit& split, const hardware::Compute& compute) {
  const DeviceRates rates = rates_of(split);
  AwaySeconds out;
  for (const Products& products : host.products) {
    if (!sends(split, products)) continue;
    out.link += products.multiplications / products.columns * bytes_per_weight(products.type) /
                sending_rate(products, split, compute);
    out.device += products.multiplications / rates.multiplications_of(products.type);
  }
  out.both = std::max(out.link, out.device);
  return out;
}

/// Moves the attention of a prompt, of which `cells` cells of the KV cache are in use, and what stands
/// between the products from the host to the devices. The host's cells cross the link for it.
void send_attention(GraphWork& host, std::int64_t cells, const DeviceSplit& split, AwaySeconds& away) {
  const DeviceRates rates = rates_of(split);
  const double used = host.cells > 0 ? static_cast<double>(cells) / static_cast<double>(host.cells) : 0;
  const double memory = rates.memory * kDeviceEfficiency;
  const double attention = static_cast<double>(host.attention.value) * used;
  away.link += attention / rates.link;
  away.device += std::max(attention / memory,
                          host.attention_multiplications * used / rates.multiplications_of(GGML_TYPE_F16));
  away.device += static_cast<double>(host.elements.value) / memory;
  away.device += static_cast<double>(host.nodes) * kDeviceSecondsPerNode;
  away.both = std::max(away.link, away.device);
  host.attention = host.elements = {};
  host.attention_multiplications = 0;
  host.nodes = 0;
}

/// The work of a full ubatch, reduced to `tokens` tokens.
GraphWork part_of(GraphWork work, std::int64_t tokens) {
  const double part = static_cast<double>(tokens) / static_cast<double>(work.tokens);
  if (tokens == work.tokens) return work;
  for (Products& products : work.products) {
    if (products.columns <= 1) continue;  // the output, computed for the last token only
    products.multiplications *= part;
    products.columns = std::max(products.columns * part, 1.0);
  }
  work.attention_multiplications *= part;
  work.elements = Bytes{static_cast<std::uint64_t>(static_cast<double>(work.elements.value) * part)};
  work.tokens = tokens;
  return work;
}

/// The lengths of drafts that a forecast names, in tokens.
constexpr std::int64_t kLengthsOfDrafts[] = {1, 3, 7, 15};
/// The smallest factor for which a draft is named.
constexpr double kLeastGainOfDrafts = 1.03;

enum class PassKind {
  kDecode,
  /// The tokens belong to one sequence, so that their attention is computed where their products are.
  kPrompt,
  /// The host computes each token by itself, so that it gets the bits of a pass of one token.
  kDraft,
};

/// Forecasts passes over one placement.
class Forecaster {
 public:
  Forecaster(const model::ModelProfile& profile, const HostPlan& plan, const DeviceSplit& split,
             const hardware::Profile& machine)
      : profile_(profile),
        plan_(plan),
        split_(split),
        machine_(machine),
        places_(profile, plan, split),
        rows_(profile, plan, split),
        few_(profile, all_uses(profile, plan, split), split, true),
        many_(profile, all_uses(profile, plan, split), split, false) {}

  [[nodiscard]] PassCost pass(const GraphWork& work, std::int64_t cells, PassKind kind) const {
    const bool few = work.tokens <= kMostTokensOfSlots;
    const Divided divided = divide(work, cells, profile_, few ? few_ : many_, split_);
    PassLoad load = load_of(divided.host, cells, profile_, plan_.demand.uses, plan_.placement);
    if (few)
      load.expert_reads =
          Bytes{static_cast<std::uint64_t>(static_cast<double>(load.expert_reads.value) * share_read())};
    if (kind == PassKind::kDraft) {
      for (Products& products : load.work.products) products.columns = 1;
      load.work.nodes *= work.tokens;
    }
    const bool by_rows = rows_.used_for(work.tokens);
    if (split_.weights.value == 0 && !by_rows) return cost_of(load, machine_);
    const double detours = places_.detours(work, false, false) * kSecondsPerDetour;
    PassLoad at_host = load;
    if (by_rows) rows_.take_from(at_host.work);
    PassCost here =
        with_devices(at_host, {divided.device_seconds, detours, divided.device_seconds + detours});
    if (by_rows) rows_.add_to(here, at_host.work, machine_);
    if (work.tokens < 2 || kind == PassKind::kDraft) return here;  // it is computed where the weights lie
    PassLoad across = load;
    std::erase_if(across.work.products, [&](const Products& products) { return sends(split_, products); });
    across.rearranged.clear();
    AwaySeconds away = across_link(divided.host, split_, machine_.compute);
    const bool has_ring =
        std::ranges::any_of(split_.devices, [](const DeviceShare& d) { return d.ring > Bytes{}; });
    if (kind == PassKind::kPrompt && has_ring) send_attention(across.work, cells, split_, away);
    const bool sends_experts = sends(split_, {.experts = true});
    const double fewer_detours = places_.detours(work, true, sends_experts) * kSecondsPerDetour;
    away.device += divided.device_seconds;
    away.link += fewer_detours;
    away.both += divided.device_seconds + fewer_detours;
    const PassCost there = with_devices(across, away);
    return there.seconds >= here.seconds ? here : there;
  }

 private:
  /// The share of the reads of experts that is left because devices have slots, too: the slots of the host
  /// then hold other experts.
  [[nodiscard]] double share_read() const {
    double lacks = 0;  // experts, of all groups
    double read = 0;
    for (const ExpertGroup& group : plan_.placement.groups) {
      const auto is_this = [&](const CachedExperts& cached) {
        return cached.tensors.front() == group.parts.front().tensor;
      };
      std::uint32_t there = 0;
      for (const DeviceShare& device : split_.devices) {
        const auto cached = std::ranges::find_if(device.groups, is_this);
        if (cached != device.groups.end()) there += cached->slots;
      }
      const std::uint32_t missing = group.experts - group.slots;
      lacks += missing;
      read += missing - std::min(missing, there);
    }
    return lacks > 0 ? read / lacks : 1;
  }

  /// The uses of the host and of the devices.
  [[nodiscard]] static std::vector<TensorUse> all_uses(const model::ModelProfile& profile,
                                                       const HostPlan& plan, const DeviceSplit& split) {
    std::vector<TensorUse> uses = plan.demand.uses;
    for (const DeviceShare& device : split.devices) {
      for (const std::uint32_t tensor : device.tensors) {
        const auto known = std::ranges::find(uses, tensor, &TensorUse::tensor);
        if (known != uses.end()) continue;
        uses.push_back({.tensor = tensor, .by_rows = true});
        if (profile.tensors[tensor].role == model::Role::kExpert) uses.back().expert_group = tensor;
      }
    }
    return uses;
  }

  /// Adds the time of the devices. The disk goes on while they compute.
  [[nodiscard]] PassCost with_devices(const PassLoad& load, const AwaySeconds& away) const {
    PassCost cost = cost_of(load, machine_);
    cost.device_seconds = away.device;
    cost.link_seconds = away.link;
    // The cores wait this long for the disk; devices may compute meanwhile.
    const double waits = std::max(0.0, cost.disk_seconds - cost.compute_seconds);
    cost.seconds += std::max(0.0, away.both - waits);
    return cost;
  }

  const model::ModelProfile& profile_;
  const HostPlan& plan_;
  const DeviceSplit& split_;
  const hardware::Profile& machine_;
  const LayerPlaces places_;
  const RowsByDevice rows_;
  // For passes of few tokens, which find experts in slots.
  const DeviceParts few_;
  // For passes of more tokens, which do not use slots.
  const DeviceParts many_;
};

}  // namespace

Forecast forecast(const model::ModelProfile& profile, const HostPlan& plan, const DeviceSplit& devices,
                  const hardware::Profile& machine, const Workload& workload, double open_seconds) {
  Forecast out;
  const Forecaster forecaster(profile, plan, devices, machine);
  out.decode =
      forecaster.pass(workload.sequences == 1 ? plan.decode : plan.decode.for_sequences(workload.sequences),
                      workload.cells, PassKind::kDecode);
  out.decode_tokens_per_second = static_cast<double>(workload.sequences) / out.decode.seconds;
  for (const std::int64_t length : kLengthsOfDrafts) {
    if (workload.sequences != 1 || plan.decode.tokens != 1) break;
    const PassCost checked =
        forecaster.pass(plan.decode.for_sequences(1 + length), workload.cells, PassKind::kDraft);
    const double rate = static_cast<double>(1 + length) / checked.seconds;
    if (rate > out.decode_tokens_per_second * kLeastGainOfDrafts) out.drafted.push_back({length, rate});
  }
  for (std::int64_t at = 0; at < workload.prompt_tokens; at += plan.prompt.tokens) {
    const std::int64_t tokens = std::min(plan.prompt.tokens, workload.prompt_tokens - at);
    // Kernels skip the cells that a token may not see: of its own ubatch, these are half.
    out.prompt += forecaster.pass(part_of(plan.prompt, tokens), at + (tokens + 1) / 2, PassKind::kPrompt);
  }
  out.prompt_tokens_per_second = static_cast<double>(workload.prompt_tokens) / out.prompt.seconds;
  out.first_token_seconds = out.prompt.seconds;
  out.load_seconds = open_seconds + load_seconds(profile, plan.demand.uses, plan.placement,
                                                 plan.demand.kv_cache + plan.demand.compute, machine);
  const DeviceRates rates = rates_of(devices);
  if (devices.weights.value > 0) {
    const double rate = std::min(rates.link, machine.disk.best_bytes_per_s());
    out.load_seconds += static_cast<double>(devices.weights.value) / rate;
  }
  return out;
}

}  // namespace brimful::plan
