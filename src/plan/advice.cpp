#include "plan/advice.h"

#include <fmt/format.h>

#include <algorithm>

namespace brimful::plan {
namespace {

// The smallest factor that is worth telling.
constexpr double kLeastGain = 1.03;
// The smallest share of the plan's rate for prompts, unless decoding gains so many times what prompts lose.
constexpr double kMostLoss = 0.9;
constexpr double kWorthALoss = 2;
// Bytes per second that an NVMe SSD of PCIe 4.0 reads.
constexpr double kGeneration4 = 6.5e9;
constexpr std::uint64_t kFewSequences = 8;

Variant with_ram(const Inputs& inputs, Bytes total) {
  Variant out{fmt::format("{} of RAM", format_bytes(total)), "", inputs};
  const Bytes kept = saturating_sub(inputs.machine.ram.total, inputs.host_budget);  // for other programs
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

}  // namespace

std::vector<Variant> standard_variants(const Inputs& inputs) {
  std::vector<Variant> out;
  const hardware::Ram& ram = inputs.machine.ram;
  const Bytes most = inputs.most_host_budget.value_or(ram.available);
  const auto with_budget = [&](Bytes budget, std::string what) {
    Variant larger{std::move(what), "", inputs};
    larger.inputs.host_budget = budget;
    out.push_back(std::move(larger));
  };
  if (inputs.host_budget < most)
    with_budget(most, fmt::format("{} {}: all that is free", inputs.names.ram, format_bytes(most)));
  // More memory in the machine does not help a process whose cgroup may not use what is there already.
  const bool in_cgroup = ram.cgroup_limit && *ram.cgroup_limit < ram.total;
  if (in_cgroup && most < ram.available && inputs.host_budget < ram.available)
    with_budget(ram.available, fmt::format("a cgroup memory limit of {}, now {}", format_bytes(ram.available),
                                           format_bytes(*ram.cgroup_limit)));
  const std::uint64_t installed = align_up(ram.total, kGiB).value / kGiB.value;
  const Bytes enough = inputs.run.demand.fixed() + inputs.profile.weight_bytes();
  for (const std::uint64_t gib : {16U, 32U, 64U, 96U, 128U, 192U, 256U}) {
    if (in_cgroup || gib <= installed || gib > 4 * installed) continue;
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
  if (inputs.workload.sequences == 1) {
    Variant batch{fmt::format("a batch of {} requests instead of a chat", kFewSequences),
                  "tokens/s of all requests together; each needs KV cache", inputs};
    batch.inputs.workload.sequences = kFewSequences;
    HostDemand& demand = batch.inputs.run.demand;
    demand.kv_cache = demand.kv_cache * kFewSequences;
    for (auto& [layer, cells] : demand.kv_of_layers) cells = cells * kFewSequences;
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
    if (factor < kLeastGain) continue;
    const double prompts =
        changed->forecast.prompt_tokens_per_second / plan.forecast.prompt_tokens_per_second;
    if (prompts < kMostLoss && factor * prompts < kWorthALoss) continue;
    out.push_back({variant.what, variant.note, rate, factor,
                   variant.other_weights ? variant.inputs.profile.weight_bytes() : Bytes{}});
  }
  std::ranges::stable_sort(out, std::greater{}, &Change::factor);
  return out;
}

}  // namespace brimful::plan
