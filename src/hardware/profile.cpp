#include "hardware/profile.h"

#include <fmt/format.h>

#include <algorithm>

#include "base/check.h"
#include "base/json_text.h"
#include "hardware/fields.h"
#include "hardware/profile_json.h"

namespace brimful::hardware {
namespace {

using nlohmann::json;

constexpr std::uint32_t kVersion = 3;

template <typename T>
void put(json& object, const char* key, const std::optional<T>& value) {
  if (value) object[key] = *value;
}
void put(json& object, const char* key, const std::optional<Bytes>& value) {
  if (value) object[key] = value->value;
}

json cpu_json(const Cpu& cpu) {
  return {{"model", cpu.model},
          {"cores", cpu.cores},
          {"threads", cpu.threads},
          {"instruction_sets", cpu.instruction_sets}};
}

json ram_json(const Ram& ram) {
  json object{{"total_bytes", ram.total.value},           {"available_bytes", ram.available.value},
              {"swap_total_bytes", ram.swap_total.value}, {"swap_used_bytes", ram.swap_used.value},
              {"read_bytes_per_s", ram.read_bytes_per_s}, {"touch_bytes_per_s", ram.touch_bytes_per_s}};
  put(object, "cgroup_limit_bytes", ram.cgroup_limit);
  put(object, "kind", ram.kind);
  put(object, "mega_transfers_per_s", ram.mega_transfers_per_s);
  put(object, "rated_mega_transfers_per_s", ram.rated_mega_transfers_per_s);
  put(object, "modules", ram.modules);
  return object;
}

json disk_json(const Disk& disk) {
  json reads = json::array();
  for (const ReadRate& read : disk.reads)
    reads.push_back({{"size_bytes", read.size.value}, {"bytes_per_s", read.bytes_per_s}});
  json object{
      {"device", disk.device},           {"kind", disk.kind},
      {"file_system", disk.file_system}, {"direct", disk.direct},
      {"reads", std::move(reads)},       {"beside_compute_bytes_per_s", disk.beside_compute_bytes_per_s}};
  put(object, "seconds_per_read", disk.seconds_per_read);
  return object;
}

json attention_json(const Attention& attention) {
  return {{"decode_multiplications_per_s", attention.decode_multiplications_per_s},
          {"prompt_multiplications_per_s", attention.prompt_multiplications_per_s},
          {"share_of_short_heads", attention.share_of_short_heads}};
}

json compute_json(const Compute& compute) {
  json kernels = json::array();
  for (const KernelRate& kernel : compute.kernels) {
    json object{{"type", kernel.type},
                {"decode_bytes_per_s", kernel.decode_bytes_per_s},
                {"batch_multiplications_per_s", kernel.batch_multiplications_per_s},
                {"prompt_multiplications_per_s", kernel.prompt_multiplications_per_s},
                {"expert_decode_bytes_per_s", kernel.expert_decode_bytes_per_s},
                {"expert_multiplications_per_s", kernel.expert_multiplications_per_s},
                {"short_rows_decode", kernel.short_rows_decode},
                {"short_rows_batch", kernel.short_rows_batch}};
    put(object, "repack_bytes_per_s", kernel.repack_bytes_per_s);
    put(object, "file_order_decode_bytes_per_s", kernel.file_order_decode_bytes_per_s);
    put(object, "turn_back_bytes_per_s", kernel.turn_back_bytes_per_s);
    kernels.push_back(std::move(object));
  }
  return {{"threads", compute.threads},
          {"kernels", std::move(kernels)},
          {"attention", attention_json(compute.attention)},
          {"quantised_attention", attention_json(compute.quantised_attention)},
          {"element_bytes_per_s", compute.element_bytes_per_s},
          {"seconds_per_node", compute.seconds_per_node},
          {"seconds_per_run", compute.seconds_per_segment},
          {"share_beside_reads", compute.share_beside_reads}};
}

Cpu parse_cpu(Fields fields) {
  return {fields.text("model"), fields.count("cores"), fields.count("threads"),
          fields.texts("instruction_sets")};
}

Ram parse_ram(Fields fields) {
  Ram ram;
  ram.total = fields.bytes("total_bytes");
  ram.available = fields.bytes("available_bytes");
  ram.swap_total = fields.bytes("swap_total_bytes");
  ram.swap_used = fields.bytes("swap_used_bytes");
  ram.cgroup_limit = fields.maybe("cgroup_limit_bytes", &Fields::bytes);
  ram.kind = fields.maybe("kind", &Fields::text);
  ram.mega_transfers_per_s = fields.maybe("mega_transfers_per_s", &Fields::count);
  ram.rated_mega_transfers_per_s = fields.maybe("rated_mega_transfers_per_s", &Fields::count);
  ram.modules = fields.maybe("modules", &Fields::count);
  ram.read_bytes_per_s = fields.rate("read_bytes_per_s");
  ram.touch_bytes_per_s = fields.rate("touch_bytes_per_s");
  return ram;
}

Disk parse_disk(Fields fields) {
  Disk disk;
  disk.device = fields.text("device");
  disk.kind = fields.text("kind");
  disk.file_system = fields.text("file_system");
  disk.direct = fields.flag("direct");
  for (Fields read : fields.list("reads")) {
    const ReadRate rate{read.bytes("size_bytes"), read.rate("bytes_per_s")};
    if (rate.size <= (disk.reads.empty() ? Bytes{} : disk.reads.back().size))
      read.refuse("size_bytes", "must be larger than the one before");
    disk.reads.push_back(rate);
  }
  if (disk.reads.empty()) fields.refuse("reads", "must not be empty");
  disk.beside_compute_bytes_per_s = fields.rate("beside_compute_bytes_per_s");
  disk.seconds_per_read = fields.maybe("seconds_per_read", &Fields::seconds);
  return disk;
}

Attention parse_attention(Fields fields) {
  return {fields.rate("decode_multiplications_per_s"), fields.rate("prompt_multiplications_per_s"),
          fields.share("share_of_short_heads")};
}

Compute parse_compute(Fields fields) {
  Compute compute;
  compute.threads = static_cast<int>(fields.count("threads"));
  for (Fields kernel : fields.list("kernels")) {
    KernelRate rate;
    rate.type = kernel.text("type");
    if (compute.find(rate.type) != nullptr) kernel.refuse("type", "is there twice");
    rate.decode_bytes_per_s = kernel.rate("decode_bytes_per_s");
    rate.batch_multiplications_per_s = kernel.rate("batch_multiplications_per_s");
    rate.prompt_multiplications_per_s = kernel.rate("prompt_multiplications_per_s");
    rate.expert_decode_bytes_per_s = kernel.rate("expert_decode_bytes_per_s");
    rate.expert_multiplications_per_s = kernel.rate("expert_multiplications_per_s");
    rate.repack_bytes_per_s = kernel.maybe("repack_bytes_per_s", &Fields::rate);
    rate.file_order_decode_bytes_per_s = kernel.maybe("file_order_decode_bytes_per_s", &Fields::rate);
    rate.turn_back_bytes_per_s = kernel.maybe("turn_back_bytes_per_s", &Fields::rate);
    rate.short_rows_decode = kernel.share("short_rows_decode");
    rate.short_rows_batch = kernel.share("short_rows_batch");
    compute.kernels.push_back(std::move(rate));
  }
  if (compute.kernels.empty()) fields.refuse("kernels", "must not be empty");
  compute.attention = parse_attention(fields.part("attention"));
  compute.quantised_attention = parse_attention(fields.part("quantised_attention"));
  compute.element_bytes_per_s = fields.rate("element_bytes_per_s");
  compute.seconds_per_node = fields.seconds("seconds_per_node");
  compute.seconds_per_segment = fields.seconds("seconds_per_run");
  compute.share_beside_reads = fields.share("share_beside_reads");
  return compute;
}

}  // namespace

double Disk::bytes_per_s(Bytes size) const {
  BRIMFUL_CHECK(!reads.empty());
  const auto above = std::ranges::find_if(reads, [&](const ReadRate& read) { return read.size >= size; });
  if (above == reads.end()) return reads.back().bytes_per_s;
  const auto at = [](Bytes bytes) { return static_cast<double>(bytes.value); };
  if (above == reads.begin()) {
    const Bytes some = std::max(size, Bytes{1});
    return above->size == Bytes{} ? above->bytes_per_s : above->bytes_per_s * at(some) / at(above->size);
  }
  const ReadRate& below = *(above - 1);
  const double share = at(size - below.size) / at(above->size - below.size);
  return below.bytes_per_s + share * (above->bytes_per_s - below.bytes_per_s);
}

double Disk::best_bytes_per_s() const {
  double best = 0;
  for (const ReadRate& read : reads) best = std::max(best, read.bytes_per_s);
  return best;
}

const KernelRate* Compute::find(std::string_view type) const {
  const auto found = std::ranges::find(kernels, type, &KernelRate::type);
  return found == kernels.end() ? nullptr : &*found;
}

json gpu_json(const Gpu& gpu) {
  json object{{"name", gpu.name},
              {"total_bytes", gpu.total.value},
              {"free_bytes", gpu.free.value},
              {"used_bytes", gpu.used.value}};
  put(object, "pcie_generation", gpu.pcie_generation);
  put(object, "pcie_width", gpu.pcie_width);
  put(object, "driver", gpu.driver);
  put(object, "host_to_device_bytes_per_s", gpu.host_to_device_bytes_per_s);
  put(object, "copies_beside_reads_bytes_per_s", gpu.copies_beside_reads_bytes_per_s);
  put(object, "reads_beside_copies_bytes_per_s", gpu.reads_beside_copies_bytes_per_s);
  put(object, "memory_bytes_per_s", gpu.memory_bytes_per_s);
  put(object, "multiplications_per_s", gpu.multiplications_per_s);
  put(object, "runtime_bytes", gpu.runtime);
  put(object, "reserved_bytes", gpu.reserved);
  return object;
}

Gpu parse_gpu(Fields fields) {
  Gpu gpu;
  gpu.name = fields.text("name");
  gpu.total = fields.bytes("total_bytes");
  gpu.free = fields.bytes("free_bytes");
  gpu.used = fields.bytes("used_bytes");
  if (gpu.free > gpu.total) fields.refuse("free_bytes", "must not be more than total_bytes");
  if (gpu.used > gpu.total) fields.refuse("used_bytes", "must not be more than total_bytes");
  gpu.pcie_generation = fields.maybe("pcie_generation", &Fields::count);
  gpu.pcie_width = fields.maybe("pcie_width", &Fields::count);
  gpu.driver = fields.maybe("driver", &Fields::text);
  gpu.host_to_device_bytes_per_s = fields.maybe("host_to_device_bytes_per_s", &Fields::rate);
  gpu.copies_beside_reads_bytes_per_s = fields.maybe("copies_beside_reads_bytes_per_s", &Fields::rate);
  gpu.reads_beside_copies_bytes_per_s = fields.maybe("reads_beside_copies_bytes_per_s", &Fields::rate);
  gpu.memory_bytes_per_s = fields.maybe("memory_bytes_per_s", &Fields::rate);
  gpu.multiplications_per_s = fields.maybe("multiplications_per_s", &Fields::rate);
  gpu.runtime = fields.maybe("runtime_bytes", &Fields::bytes);
  gpu.reserved = fields.maybe("reserved_bytes", &Fields::bytes);
  if (gpu.reserved > gpu.used) fields.refuse("reserved_bytes", "must not be more than used_bytes");
  return gpu;
}

std::string dump(const json& object, int indent) {
  return object.dump(indent, ' ', false, json::error_handler_t::replace);
}

std::string to_json(const Profile& profile) {
  json gpus = json::array();
  for (const Gpu& gpu : profile.gpus) gpus.push_back(gpu_json(gpu));
  json object{{"profile_version", kVersion},  {"name", profile.name},
              {"measured", profile.measured}, {"cpu", cpu_json(profile.cpu)},
              {"ram", ram_json(profile.ram)}, {"disk", disk_json(profile.disk)},
              {"gpus", std::move(gpus)},      {"compute", compute_json(profile.compute)}};
  put(object, "gpu_problem", profile.gpu_problem);
  put(object, "disturbed_by_processors", profile.disturbed_by);
  return dump(object, 2);
}

Result<Profile> parse_profile(std::string_view text) {
  const auto parsed = parse_json(text);
  if (!parsed)
    return fail(ErrorCode::kCorrupt, fmt::format("not a hardware profile: {}", parsed.error().message));
  const json& object = *parsed;
  std::string problem;
  Fields fields(object, "", problem);
  if (!fields.has("profile_version"))
    return fail(ErrorCode::kCorrupt,
                "not a hardware profile: profile_version is missing; brimful probe --json writes one");
  const std::uint32_t version = fields.count("profile_version");
  if (problem.empty() && version != kVersion)
    return fail(ErrorCode::kUnsupported,
                fmt::format("the hardware profile has version {}, and this program reads version {}: measure "
                            "again with brimful probe --json",
                            version, kVersion));
  Profile profile;
  profile.name = fields.text("name");
  profile.measured = fields.text("measured");
  profile.cpu = parse_cpu(fields.part("cpu"));
  profile.ram = parse_ram(fields.part("ram"));
  profile.disk = parse_disk(fields.part("disk"));
  for (Fields& gpu : fields.list("gpus")) profile.gpus.push_back(parse_gpu(std::move(gpu)));
  profile.gpu_problem = fields.maybe("gpu_problem", &Fields::text);
  profile.compute = parse_compute(fields.part("compute"));
  profile.disturbed_by = fields.maybe("disturbed_by_processors", &Fields::processors);
  if (!problem.empty()) return fail(ErrorCode::kCorrupt, fmt::format("the hardware profile: {}", problem));
  return profile;
}

}  // namespace brimful::hardware
