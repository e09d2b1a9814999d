#include "hardware/catalogue.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <charconv>

#include "hardware/fields.h"
#include "hardware/preset_texts.h"
#include "hardware/toml_text.h"

namespace brimful::hardware {
namespace {

using nlohmann::json;

Error corrupt(const std::string& problem) {
  return {ErrorCode::kCorrupt, fmt::format("hardware presets: {}", problem)};
}

/// Removes a number from the beginning of `text` and returns it. Nullopt when there is none, and for 0.
std::optional<std::uint32_t> take_number(std::string_view& text) {
  std::uint32_t value = 0;
  const auto [end, ec] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (ec != std::errc{} || value == 0) return std::nullopt;
  text.remove_prefix(static_cast<std::size_t>(end - text.data()));
  return value;
}

bool take(std::string_view& text, std::string_view prefix) {
  if (!text.starts_with(prefix)) return false;
  text.remove_prefix(prefix.size());
  return true;
}

Bytes scaled(Bytes bytes, double share) {
  return Bytes{static_cast<std::uint64_t>(static_cast<double>(bytes.value) * share)};
}

}  // namespace

std::optional<MemoryName> parse_memory_name(std::string_view name) {
  MemoryName memory;
  const auto gb = take_number(name);
  if (!gb || !take(name, "gb-")) return std::nullopt;
  const std::size_t dash = name.find('-');
  if (dash == 0 || dash == std::string_view::npos) return std::nullopt;
  memory.kind = name.substr(0, dash);
  name.remove_prefix(dash + 1);
  const auto speed = take_number(name);
  if (!speed || !name.empty()) return std::nullopt;
  memory.gb = *gb;
  memory.mega_transfers_per_s = *speed;
  return memory;
}

std::optional<CpuName> parse_cpu_name(std::string_view name) {
  const auto first = take_number(name);
  if (!first) return std::nullopt;
  if (name == "-threads") return CpuName{*first - *first / 2, *first};
  if (!take(name, "c")) return std::nullopt;
  const auto threads = take_number(name);
  if (!threads || name != "t" || *threads < *first || *threads - *first > *first) return std::nullopt;
  return CpuName{*first, *threads};
}

Result<Catalogue> Catalogue::built_in() {
  Catalogue catalogue;
  for (const PresetText& preset : preset_texts()) {
    BRIMFUL_TRY(const json groups, parse_toml(preset.text, preset.file));
    catalogue.add(groups);
  }
  return catalogue;
}

bool Catalogue::has(std::string_view group, std::string_view name) const {
  const auto found = groups_.find(group);
  return found != groups_.end() && found->is_object() && found->contains(name);
}

std::vector<std::string> Catalogue::names(std::string_view group) const {
  std::string problem;
  Fields all(groups_, "", problem);
  std::vector<std::string> names;
  if (group == "memory" || group == "cpu") names = all.part(fmt::format("{}_rules", group)).texts("names");
  if (group == "memory") return names;
  const auto found = groups_.find(group);
  if (found == groups_.end() || !found->is_object()) return names;
  for (const auto& [name, figures] : found->items()) names.push_back(name);
  return names;
}

std::string Catalogue::source(std::string_view group, std::string_view name) const {
  std::string problem;
  Fields all(groups_, "", problem);
  if (group == "cpu" && !has("cpu", name)) return all.part("cpu_rules").text("source");
  const auto memory = parse_memory_name(name);
  return all.part(group).part(group == "memory" && memory ? memory->kind : name).text("source");
}

Result<Gpu> Catalogue::gpu(std::string_view name) const {
  std::string problem;
  Fields all(groups_, "", problem);
  Fields card = all.part("gpu").part(name);
  Fields rules = all.part("gpu_rules");
  Gpu gpu;
  gpu.name = card.text("name");
  gpu.total = gpu.free = card.bytes("memory");
  gpu.memory_bytes_per_s = card.rate("memory_bytes_per_s");
  gpu.pcie_generation = card.count("pcie_generation");
  gpu.pcie_width = card.count("pcie_width");
  gpu.host_to_device_bytes_per_s = card.maybe("host_to_device_bytes_per_s", &Fields::rate);
  if (!gpu.host_to_device_bytes_per_s) {
    const double lane = rules.part("lane_bytes_per_s").rate(std::to_string(*gpu.pcie_generation));
    gpu.host_to_device_bytes_per_s = lane * *gpu.pcie_width * rules.share("link_share");
  }
  gpu.multiplications_per_s = card.maybe("multiplications_per_s", &Fields::rate);
  if (!gpu.multiplications_per_s)
    gpu.multiplications_per_s = card.rate("int8_operations_per_s") / 2 * rules.share("multiplication_share");
  gpu.runtime = (card.has("runtime") ? card : rules).bytes("runtime");
  if (!problem.empty()) return std::unexpected(corrupt(problem));
  return gpu;
}

Result<Disk> Catalogue::disk(std::string_view name) const {
  std::string problem;
  Fields all(groups_, "", problem);
  Fields figures = all.part("disk").part(name);
  Disk disk;
  disk.device = name;
  disk.kind = figures.text("kind");
  for (Fields& read : figures.list("reads"))
    disk.reads.push_back({read.bytes("size"), read.rate("bytes_per_s")});
  const auto not_larger = [](const ReadRate& a, const ReadRate& b) { return a.size >= b.size; };
  if (disk.reads.empty()) figures.refuse("reads", "must not be empty");
  if (std::ranges::adjacent_find(disk.reads, not_larger) != disk.reads.end())
    figures.refuse("reads", "must have ascending sizes");
  disk.beside_compute_bytes_per_s =
      disk.best_bytes_per_s() * all.part("disk_rules").share("beside_compute_share");
  if (!problem.empty()) return std::unexpected(corrupt(problem));
  return disk;
}

Result<Ram> Catalogue::ram(const MemoryName& name) const {
  if (!has("memory", name.kind))
    return fail(ErrorCode::kInvalidArgument, fmt::format("no memory of the kind '{}' is known: {}", name.kind,
                                                         fmt::join(names("memory"), ", ")));
  std::string problem;
  Fields all(groups_, "", problem);
  Fields kind = all.part("memory").part(name.kind);
  Fields rules = all.part("memory_rules");
  const std::uint32_t slowest = kind.count("slowest");
  const std::uint32_t fastest = kind.count("fastest");
  const std::uint32_t most_gb = rules.count("most_gb");
  const std::uint32_t channels = rules.count("channels");
  const double rate = 1e6 * name.mega_transfers_per_s * rules.count("bytes_per_transfer") * channels;
  Ram ram;
  ram.total = scaled(kGiB * name.gb, rules.share("total_share"));
  ram.available = saturating_sub(ram.total, rules.bytes("system"));
  ram.kind = name.kind;
  std::ranges::transform(*ram.kind, ram.kind->begin(),
                         [](char c) { return c >= 'a' && c <= 'z' ? static_cast<char>(c - 'a' + 'A') : c; });
  ram.mega_transfers_per_s = ram.rated_mega_transfers_per_s = name.mega_transfers_per_s;
  ram.modules = channels;
  ram.read_bytes_per_s = rate * rules.share("read_share");
  ram.touch_bytes_per_s = rate * rules.share("touch_share");
  if (!problem.empty()) return std::unexpected(corrupt(problem));
  if (name.gb > most_gb)
    return fail(ErrorCode::kInvalidArgument,
                fmt::format("{} GB of memory: at most {} GB are supported", name.gb, most_gb));
  if (name.mega_transfers_per_s < slowest || name.mega_transfers_per_s > fastest)
    return fail(ErrorCode::kInvalidArgument,
                fmt::format("{} comes with {} to {} MT/s, not with {}", *ram.kind, slowest, fastest,
                            name.mega_transfers_per_s));
  return ram;
}

std::optional<CpuName> Catalogue::find_cpu(std::string_view name) const {
  if (!has("cpu", name)) return parse_cpu_name(name);
  return CpuName{.cores = 1, .threads = 1, .listed = std::string(name)};
}

Result<Cpu> Catalogue::listed_cpu(std::string_view name) const {
  std::string problem;
  Fields all(groups_, "", problem);
  Fields figures = all.part("cpu").part(name);
  Fields rules = all.part("cpu_rules");
  Cpu cpu{figures.text("name"), figures.count("cores"), figures.count("threads"),
          (figures.has("instruction_sets") ? figures : rules).texts("instruction_sets")};
  if (!problem.empty()) return std::unexpected(corrupt(problem));
  return cpu;
}

Result<Cpu> Catalogue::cpu(const CpuName& name) const {
  if (!name.listed.empty()) return listed_cpu(name.listed);
  std::string problem;
  Fields all(groups_, "", problem);
  Fields rules = all.part("cpu_rules");
  const std::uint32_t most = rules.count("most_cores");
  Cpu cpu{fmt::format("{} cores, {} threads", name.cores, name.threads), name.cores, name.threads,
          rules.texts("instruction_sets")};
  if (!problem.empty()) return std::unexpected(corrupt(problem));
  if (name.cores > most)
    return fail(ErrorCode::kInvalidArgument,
                fmt::format("{} cores: at most {} are supported", name.cores, most));
  return cpu;
}

Result<std::optional<double>> Catalogue::most_read_bytes_per_s(const CpuName& name) const {
  if (name.listed.empty()) return std::nullopt;
  std::string problem;
  Fields all(groups_, "", problem);
  const auto fabric = all.part("cpu").part(name.listed).maybe("fabric_bytes_per_s", &Fields::rate);
  const double share = all.part("cpu_rules").share("fabric_share");
  if (!problem.empty()) return std::unexpected(corrupt(problem));
  return fabric ? std::optional(*fabric * share) : std::nullopt;
}

Result<Compute> Catalogue::compute(std::uint32_t cores, const Ram& ram) const {
  std::string problem;
  Fields all(groups_, "", problem);
  Fields core = all.part("compute");
  const auto from_ram = [&](double of_a_core) { return std::min(cores * of_a_core, ram.read_bytes_per_s); };
  Compute compute;
  compute.threads = static_cast<int>(cores);
  const double expert_share = core.share("expert_share");
  Fields product = core.part("expert_product");
  const double product_bytes = product.rate("bytes");
  const double product_seconds = product.seconds("seconds");
  const auto kernels = groups_.find("kernel");
  if (kernels == groups_.end() || !kernels->is_object() || kernels->empty())
    return std::unexpected(corrupt("kernel is missing"));
  for (const auto& [type, figures] : kernels->items()) {
    Fields kernel(figures, fmt::format("kernel.{}", type), problem);
    KernelRate rate;
    rate.type = type;
    rate.decode_bytes_per_s = from_ram(kernel.rate("decode_bytes_per_s"));
    rate.batch_multiplications_per_s = cores * kernel.rate("batch_multiplications_per_s");
    rate.prompt_multiplications_per_s = cores * kernel.rate("prompt_multiplications_per_s");
    rate.expert_decode_bytes_per_s =
        product_bytes / (product_bytes / rate.decode_bytes_per_s + product_seconds);
    rate.expert_multiplications_per_s = rate.batch_multiplications_per_s * expert_share;
    const auto repack = kernel.maybe("repack_bytes_per_s", &Fields::rate);
    if (repack) rate.repack_bytes_per_s = from_ram(*repack);
    compute.kernels.push_back(std::move(rate));
  }
  const auto attention = [&](Fields of_a_core) {
    return Attention{cores * of_a_core.rate("decode_multiplications_per_s"),
                     cores * of_a_core.rate("prompt_multiplications_per_s"),
                     of_a_core.share("share_of_short_heads")};
  };
  compute.attention = attention(core.part("attention"));
  compute.quantised_attention = attention(core.part("quantised_attention"));
  compute.element_bytes_per_s = cores * core.rate("element_bytes_per_s");
  compute.seconds_per_node = core.seconds("seconds_per_node");
  compute.seconds_per_segment = core.seconds("seconds_per_run");
  compute.share_beside_reads = core.share("share_beside_reads");
  if (!problem.empty()) return std::unexpected(corrupt(problem));
  return compute;
}

Result<CpuName> Catalogue::usual_cpu() const {
  std::string problem;
  Fields all(groups_, "", problem);
  Fields rules = all.part("cpu_rules");
  const auto cpu = parse_cpu_name(rules.text("without_name"));
  if (!cpu) rules.refuse("without_name", "must be a CPU, such as 8c16t");
  if (!problem.empty()) return std::unexpected(corrupt(problem));
  return *cpu;
}

}  // namespace brimful::hardware
