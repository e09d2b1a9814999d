#include "plan/cost_model.h"

#include <algorithm>
#include <cmath>
#include <map>

namespace brimful::plan {
namespace {

/// The rates of `type`. Where it was not measured, those of the measured type with the most similar size.
const hardware::KernelRate& rates_of(ggml_type type, const hardware::Compute& compute) {
  if (const auto* known = compute.find(ggml_type_name(type))) return *known;
  const auto distance = [&](const hardware::KernelRate& rate) {
    for (int t = 0; t < GGML_TYPE_COUNT; ++t) {
      const auto other = static_cast<ggml_type>(t);
      if (ggml_blck_size(other) > 0 && rate.type == ggml_type_name(other))
        return std::abs(std::log(bytes_per_weight(other) / bytes_per_weight(type)));
    }
    return HUGE_VAL;
  };
  return *std::ranges::min_element(compute.kernels, {}, distance);
}

/// The time of a multiplication in rows of `row` weights, divided by that in rows of 4096. A row costs some
/// time, and each of its weights more; rows longer than 4096 are as fast. `share` is the measured rate in
/// rows of 1024, divided by that in rows of 4096.
double share_of_rows(std::int64_t row, double share) {
  const double shorter = std::max(4096.0 / static_cast<double>(row) - 1, 0.0);
  return 1 + (1 / share - 1) * shorter / 3;
}

/// The time of a multiply-add. Between the measured numbers of columns, it follows the logarithm of the
/// number.
double seconds_per_multiplication(const Products& products, const hardware::Compute& compute) {
  const hardware::KernelRate& rate = rates_of(products.type, compute);
  const bool slower =
      !products.repacked && rate.file_order_decode_bytes_per_s && rate.type == ggml_type_name(products.type);
  const double layout = slower ? rate.decode_bytes_per_s / *rate.file_order_decode_bytes_per_s : 1;
  const double of_one = layout * share_of_rows(products.row, rate.short_rows_decode);
  const double rows_of_many = share_of_rows(products.row, rate.short_rows_batch);
  if (products.experts) {
    const double one = of_one * bytes_per_weight(products.type) / rate.expert_decode_bytes_per_s;
    const double some = rows_of_many / rate.expert_multiplications_per_s;
    return one + (some - one) * std::min(std::log2(std::max(products.columns, 1.0)) / 4, 1.0);
  }
  const double one = of_one * bytes_per_weight(products.type) / rate.decode_bytes_per_s;
  const double batch = rows_of_many / rate.batch_multiplications_per_s;
  const double prompt = rows_of_many / rate.prompt_multiplications_per_s;
  const double doublings = std::log2(std::max(products.columns, 1.0));
  if (doublings <= 5) return one + (batch - one) * doublings / 5;
  return batch + (prompt - batch) * std::min((doublings - 5) / 4, 1.0);
}

double attention_seconds(const PassLoad& load, const hardware::Profile& machine) {
  const hardware::Compute& compute = machine.compute;
  const GraphWork& work = load.work;
  if (work.cells == 0) return 0;
  const double scale = static_cast<double>(load.cells) / static_cast<double>(work.cells);
  const hardware::Attention& attention =
      work.quantised_cache ? compute.quantised_attention : compute.attention;
  const double rate = work.tokens == 1
                          ? attention.decode_multiplications_per_s * share_of_heads(work.head, attention)
                          : attention.prompt_multiplications_per_s;
  const double multiplying = work.attention_multiplications * scale / rate;
  // Heads that share no cells with others multiply faster than memory gives the cells.
  const double read = static_cast<double>(work.attention.value) * scale;
  return machine.ram.read_bytes_per_s > 0 ? std::max(multiplying, read / machine.ram.read_bytes_per_s)
                                          : multiplying;
}

double compute_seconds(const PassLoad& load, const hardware::Profile& machine) {
  const hardware::Compute& compute = machine.compute;
  double seconds = attention_seconds(load, machine);
  for (const Products& products : load.work.products) seconds += product_seconds(products, compute);
  for (const auto& [type, bytes] : load.rearranged) {
    const auto rate = rates_of(type, compute).repack_bytes_per_s;
    if (rate) seconds += static_cast<double>(bytes.value) / *rate;
  }
  seconds += static_cast<double>(load.work.elements.value) / compute.element_bytes_per_s;
  seconds += static_cast<double>(load.work.nodes) * compute.seconds_per_node;
  return seconds + static_cast<double>(load.segments) * compute.seconds_per_segment;
}

/// Whether the cores wait for memory more than they compute.
bool memory_is_the_limit(const PassLoad& load, const hardware::Profile& machine, double seconds) {
  double bytes = static_cast<double>(load.work.attention.value);
  for (const Products& products : load.work.products)
    bytes += products.multiplications / products.columns * bytes_per_weight(products.type);
  return machine.ram.read_bytes_per_s > 0 && bytes / machine.ram.read_bytes_per_s > 0.7 * seconds;
}

/// Reads of experts in a pass. `part` is the size of one read; `row_tiles` tells that a step uses more
/// experts than its group has slots, so that they are computed in row tiles.
struct ExpertReads {
  Bytes bytes;
  Bytes part;
  bool row_tiles = false;
};

ExpertReads expert_reads(const GraphWork& work, const Placement& placement) {
  ExpertReads out;
  double bytes = 0;
  for (const ExpertGroup& group : placement.groups) {
    const double experts = group.experts;
    const double used = std::min(static_cast<double>(work.experts_used), experts);
    const double distinct = experts * (1 - std::pow(1 - used / experts, static_cast<double>(work.tokens)));
    out.row_tiles |= distinct > group.slots && group.slots < group.experts;
    bytes += distinct * (1 - group.slots / experts) * static_cast<double>(group.expert.value);
    for (const ExpertPart& part : group.parts) out.part = std::max(out.part, part.bytes);
  }
  out.bytes = Bytes{static_cast<std::uint64_t>(bytes)};
  return out;
}

/// Products with experts take this many times as long where they are computed in row tiles, because a layer's
/// step uses more experts than have slots. Measured: bench/plan_accuracy.
constexpr double kRowTileSlowdown = 2.0;

// Seconds of a read where nobody measured them: those of an NVMe SSD.
constexpr double kUnknownLatency = 1e-4;

/// The part of the shorter one of computing and reading that does not overlap: a segment begins when its
/// weights have come, and the memory that they were read to is free when it ends. Measured:
/// bench/plan_accuracy.
constexpr double kSeams = 0.1;

/// For each tensor of the profile: whether its rows are rearranged.
std::vector<bool> repacked_tensors(const model::ModelProfile& profile, const std::vector<TensorUse>& uses) {
  std::vector<bool> out(profile.tensors.size());
  for (const TensorUse& use : uses) out[use.tensor] = use.repacked;
  return out;
}

}  // namespace

// A cell costs the same time in every head, and each value some more: so shorter heads multiply slower. The
// model is t(head) = cell + value * head, from t(64) and t(128).
double share_of_heads(std::int64_t head, const hardware::Attention& attention) {
  // The time of a multiplication in heads of 64, divided by that in heads of 128.
  const double of_64 = 1 / attention.share_of_short_heads;
  const double per_value = std::max(2 - of_64, 0.0);
  const double per_cell = of_64 - 1;
  return 1 / (per_value + per_cell * 128 / static_cast<double>(head > 0 ? head : 128));
}

double bytes_per_weight(ggml_type type) {
  return static_cast<double>(ggml_type_size(type)) / static_cast<double>(ggml_blck_size(type));
}

double product_seconds(const Products& products, const hardware::Compute& compute) {
  return products.multiplications * seconds_per_multiplication(products, compute);
}

GraphWork GraphWork::for_sequences(std::int64_t sequences) const {
  GraphWork out = *this;
  const auto n = static_cast<double>(sequences);
  out.tokens = sequences;
  for (Products& some : out.products) {
    some.multiplications *= n;
    if (!some.experts) some.columns *= n;
  }
  out.attention = attention * static_cast<std::uint64_t>(sequences);
  out.attention_multiplications *= n;
  out.elements = elements * static_cast<std::uint64_t>(sequences);
  return out;
}

PassLoad load_of(const GraphWork& work, std::int64_t cells, const model::ModelProfile& profile,
                 const std::vector<TensorUse>& uses, const Placement& placement) {
  PassLoad load{.work = work, .cells = cells};
  const std::vector<bool> repacked = repacked_tensors(profile, uses);
  std::map<ggml_type, Bytes> rearranged;
  for (const Unit& unit : placement.units) {
    if (unit.resident) continue;
    load.streamed += unit.span();
    ++load.segments;
    ++load.streamed_segments;
    if (repacked[unit.tensor]) rearranged[profile.tensors[unit.tensor].type] += unit.bytes;
  }
  const ExpertReads experts = expert_reads(work, placement);
  load.expert_reads = experts.bytes;
  load.expert_part = experts.part;
  if (experts.bytes.value > 0) load.expert_steps = static_cast<std::int64_t>(placement.groups.size());
  for (Products& products : load.work.products) {
    if (products.experts && experts.row_tiles) products.multiplications *= kRowTileSlowdown;
  }
  load.segments += static_cast<std::int64_t>(placement.groups.size());
  for (const ExpertGroup& group : placement.groups) {
    for (const ExpertPart& part : group.parts) {
      if (!repacked[part.tensor]) continue;
      const double share = static_cast<double>(part.bytes.value) / static_cast<double>(group.expert.value);
      rearranged[profile.tensors[part.tensor].type] += Bytes{static_cast<std::uint64_t>(
          share * static_cast<double>(experts.bytes.value) / static_cast<double>(placement.groups.size()))};
    }
  }
  for (const auto& [type, bytes] : rearranged) load.rearranged.push_back({type, bytes});
  return load;
}

double run_beside(double first_seconds, double first_beside, double second_seconds, double second_beside) {
  const double first_end = first_seconds / first_beside;
  const double second_end = second_seconds / second_beside;
  if (first_end <= second_end) return first_end + second_seconds - first_end * second_beside;
  return second_end + first_seconds - second_end * first_beside;
}

Bound PassCost::bound_by() const {
  const double disk = disk_seconds + expert_seconds;
  const double longest = std::max({compute_seconds, disk, device_seconds, link_seconds});
  if (compute_seconds == longest) return waits_for_ram ? Bound::kRam : Bound::kCompute;
  if (disk == longest) return Bound::kDisk;
  return device_seconds == longest ? Bound::kGpu : Bound::kLink;
}

PassCost& PassCost::operator+=(const PassCost& next) {
  seconds += next.seconds;
  compute_seconds += next.compute_seconds;
  disk_seconds += next.disk_seconds;
  expert_seconds += next.expert_seconds;
  device_seconds += next.device_seconds;
  link_seconds += next.link_seconds;
  reads += next.reads;
  rows_sent += next.rows_sent;
  return *this;
}

PassCost cost_of(const PassLoad& load, const hardware::Profile& machine) {
  PassCost cost{.reads = load.streamed + load.expert_reads};
  cost.compute_seconds = compute_seconds(load, machine);
  const hardware::Disk& disk = machine.disk;
  const double latency = disk.seconds_per_read.value_or(kUnknownLatency);
  if (load.streamed.value > 0)
    cost.disk_seconds = static_cast<double>(load.streamed.value) / disk.best_bytes_per_s();
  if (load.expert_reads.value > 0)
    cost.expert_seconds = static_cast<double>(load.expert_reads.value) / disk.bytes_per_s(load.expert_part) +
                          static_cast<double>(load.expert_steps) * latency;
  const double disk_beside =
      load.streamed.value > 0 ? disk.beside_compute_bytes_per_s / disk.best_bytes_per_s() : 1;
  const double both = run_beside(cost.compute_seconds, machine.compute.share_beside_reads, cost.disk_seconds,
                                 std::min(disk_beside, 1.0));
  cost.seconds = both + kSeams * std::min(cost.compute_seconds, cost.disk_seconds) +
                 static_cast<double>(load.streamed_segments) * latency + cost.expert_seconds;
  cost.waits_for_ram = load.work.tokens == 1 && memory_is_the_limit(load, machine, cost.compute_seconds);
  return cost;
}

double load_seconds(const model::ModelProfile& profile, const std::vector<TensorUse>& uses,
                    const Placement& placement, Bytes other_memory, const hardware::Profile& machine) {
  const std::vector<bool> repacked = repacked_tensors(profile, uses);
  const Bytes memory = placement.arena_bytes() + other_memory;
  double seconds = static_cast<double>(memory.value) / machine.ram.touch_bytes_per_s;
  Bytes read = placement.slot_bytes();
  for (const Extent& extent : placement.extents) read += extent.size;
  seconds += static_cast<double>(read.value) / machine.disk.best_bytes_per_s();
  const auto rearrange = [&](std::uint32_t tensor, Bytes bytes) {
    const auto rate = rates_of(profile.tensors[tensor].type, machine.compute).repack_bytes_per_s;
    if (repacked[tensor] && rate) seconds += static_cast<double>(bytes.value) / *rate;
  };
  for (const Unit& unit : placement.units) {
    if (unit.resident) rearrange(unit.tensor, unit.bytes);
  }
  for (const ExpertGroup& group : placement.groups) {
    for (const ExpertPart& part : group.parts) rearrange(part.tensor, part.bytes * group.slots);
  }
  return seconds;
}

}  // namespace brimful::plan
