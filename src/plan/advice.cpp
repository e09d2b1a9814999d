#include "plan/advice.h"

#include <fmt/format.h>

#include <algorithm>

namespace strata::plan {
namespace {

constexpr double kLeastGain = 1.03;
constexpr double kWorthKnowing = 0.5;   // a smaller file that is slower than this is no advice
constexpr double kGeneration4 = 6.5e9;  // bytes/s that an NVMe SSD of PCIe 4.0 reads
constexpr std::uint64_t kFewSequences = 8;

Variant with_ram(const Inputs& inputs, Bytes total) {
  Variant out{fmt::format("{} of RAM", format_bytes(total)), "", inputs};
  const Bytes kept = saturating_sub(inputs.machine.ram.total, inputs.host_budget);  // for all else that runs
  out.inputs.machine.ram.total = total;
  out.inputs.host_budget = saturating_sub(total, kept);
  return out;
}

Variant with_disk(const Inputs& inputs, double bytes_per_s, std::string what) {
  Variant out{std::move(what), "", inputs};
  hardware::Disk& disk = out.inputs.machine.disk;
  const double faster = bytes_per_s / disk.best_bytes_per_s();
  for (hardware::ReadRate& rate : disk.reads) rate.bytes_per_s *= faster;
  disk.beside_compute_bytes_per_s *= faster;
  return out;
}

Variant with_vram(const Inputs& inputs, Bytes total) {
  Variant out{fmt::format("a GPU of the same kind with {} of VRAM", format_bytes(total)), "", inputs};
  DeviceBudget& device = out.inputs.devices.front();
  const Bytes kept = saturating_sub(device.gpu.total, device.budget);
  device.gpu.total = total;
  device.budget = saturating_sub(total, kept);
  return out;
}

GraphWork part_of(GraphWork work, double part) {
  for (Products& products : work.products) products.multiplications *= part;
  const auto scaled = [&](Bytes bytes) {
    return Bytes{static_cast<std::uint64_t>(static_cast<double>(bytes.value) * part)};
  };
  work.attention = scaled(work.attention);
  work.attention_multiplications *= part;
  work.elements = scaled(work.elements);
  work.nodes = static_cast<std::int64_t>(static_cast<double>(work.nodes) * part);
  return work;
}

/// This model with so few of its layers that it has `parameters`: what a smaller model of the same
/// quantisation would do.
Variant smaller_model(const Inputs& inputs, double parameters, std::string what) {
  Variant out{std::move(what), "as many layers less of this one", inputs, true};
  const double part = parameters / static_cast<double>(inputs.profile.parameters);
  const auto layers = std::max(1, static_cast<int>(inputs.profile.layers * part));
  model::ModelProfile& profile = out.inputs.profile;
  const auto dropped = [&](const model::TensorInfo& tensor) {
    return tensor.layer && *tensor.layer >= layers;
  };
  std::vector<std::uint32_t> index(profile.tensors.size());
  std::vector<model::TensorInfo> kept;
  for (std::size_t i = 0; i < profile.tensors.size(); ++i) {
    index[i] = static_cast<std::uint32_t>(kept.size());
    if (!dropped(profile.tensors[i])) kept.push_back(profile.tensors[i]);
  }
  std::erase_if(out.inputs.run.demand.uses,
                [&](const TensorUse& use) { return dropped(inputs.profile.tensors[use.tensor]); });
  for (TensorUse& use : out.inputs.run.demand.uses) {
    use.tensor = index[use.tensor];
    if (use.expert_group) use.expert_group = index[*use.expert_group];
  }
  profile.tensors = std::move(kept);
  profile.layers = static_cast<std::uint32_t>(layers);
  out.inputs.run.decode = part_of(inputs.run.decode, part);
  out.inputs.run.prompt = part_of(inputs.run.prompt, part);
  Demand& demand = out.inputs.run.demand;
  demand.kv_cache = Bytes{demand.kv_cache.value / inputs.profile.layers * profile.layers};
  return out;
}

}  // namespace

std::vector<Variant> standard_variants(const Inputs& inputs) {
  std::vector<Variant> out;
  if (inputs.host_budget < inputs.machine.ram.available) {
    Variant larger{fmt::format("--ram {}: all that is free", format_bytes(inputs.machine.ram.available)), "",
                   inputs};
    larger.inputs.host_budget = inputs.machine.ram.available;
    out.push_back(std::move(larger));
  }
  const std::uint64_t installed = align_up(inputs.machine.ram.total, kGiB).value / kGiB.value;
  const Bytes enough = inputs.run.demand.fixed() + inputs.profile.weight_bytes();
  for (const std::uint64_t gib : {16U, 32U, 64U, 96U, 128U, 192U, 256U}) {
    if (gib <= installed || gib > 4 * installed) continue;
    if (out.empty() || out.back().inputs.host_budget < enough) out.push_back(with_ram(inputs, kGiB * gib));
  }
  if (!inputs.machine.disk.reads.empty() && inputs.machine.disk.best_bytes_per_s() < kGeneration4)
    out.push_back(with_disk(inputs, kGeneration4, "an NVMe SSD of PCIe 4.0 (6.5 GB/s)"));
  if (!inputs.devices.empty()) {
    const std::uint64_t now = align_up(inputs.devices.front().gpu.total, kGiB).value / kGiB.value;
    for (const std::uint64_t gib : {16U, 24U, 32U}) {
      if (gib > now) out.push_back(with_vram(inputs, kGiB * gib));
    }
  }
  for (const double billions : {32.0, 13.0, 7.0}) {
    if (inputs.profile.layers > 1 && static_cast<double>(inputs.profile.parameters) > 1.5e9 * billions)
      out.push_back(
          smaller_model(inputs, billions * 1e9, fmt::format("a model of {:.0f}B parameters", billions)));
  }
  if (inputs.workload.sequences == 1) {
    Variant batch{fmt::format("a batch of {} requests instead of a chat", kFewSequences),
                  "tokens/s of all together; the KV cache grows with each", inputs};
    batch.inputs.workload.sequences = kFewSequences;
    Demand& demand = batch.inputs.run.demand;
    demand.kv_cache = demand.kv_cache * kFewSequences;
    out.push_back(std::move(batch));
  }
  return out;
}

std::vector<Change> rank(const Plan& plan, const std::vector<Variant>& variants) {
  std::vector<Change> out;
  for (const Variant& variant : variants) {
    const auto changed = make_plan(variant.inputs);
    if (!changed) continue;
    const double rate = changed->forecast.decode_tokens_per_second;
    const double factor = rate / plan.forecast.decode_tokens_per_second;
    if (factor < (variant.other_model ? kWorthKnowing : kLeastGain)) continue;
    out.push_back({variant.what, variant.note, rate, factor,
                   variant.other_model ? variant.inputs.profile.weight_bytes() : Bytes{}});
  }
  std::ranges::stable_sort(out, std::greater{}, &Change::factor);
  return out;
}

}  // namespace strata::plan
