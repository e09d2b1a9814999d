#include "hardware/presets.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <array>
#include <fstream>
#include <numeric>

#include "hardware/catalogue.h"
#include "hardware/fields.h"
#include "hardware/system_text.h"
#include "hardware/toml_text.h"

namespace brimful::hardware {
namespace {

constexpr std::array<std::string_view, 4> kKinds{"gpu", "memory", "disk", "cpu"};

std::string lower(std::string_view text) {
  std::string out(text);
  for (char& c : out) c = c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c;
  return out;
}

std::vector<std::string> names_of(std::string_view spec) {
  std::vector<std::string> names;
  while (!spec.empty()) {
    const std::size_t comma = std::min(spec.find(','), spec.size());
    const std::string_view name = trim(spec.substr(0, comma));
    if (!name.empty()) names.push_back(lower(name));
    spec.remove_prefix(std::min(comma + 1, spec.size()));
  }
  return names;
}

/// Returns how many letters must be inserted, removed or changed to turn one text into the other.
std::size_t edits(std::string_view from, std::string_view to) {
  std::vector<std::size_t> row(to.size() + 1);
  std::iota(row.begin(), row.end(), std::size_t{0});
  for (std::size_t i = 0; i < from.size(); ++i) {
    std::size_t diagonal = row[0];
    row[0] = i + 1;
    for (std::size_t j = 0; j < to.size(); ++j) {
      const std::size_t changed = diagonal + (from[i] == to[j] ? 0 : 1);
      diagonal = row[j + 1];
      row[j + 1] = std::min({row[j] + 1, row[j + 1] + 1, changed});
    }
  }
  return row.back();
}

std::vector<std::string> nearest_names(const Catalogue& catalogue, std::string_view name) {
  constexpr std::size_t kLongest = 64;
  constexpr std::size_t kShown = 3;
  const std::string_view start = name.substr(0, kLongest);
  std::vector<std::string> all;
  for (const std::string_view kind : kKinds)
    std::ranges::copy(catalogue.names(kind), std::back_inserter(all));
  std::ranges::stable_sort(all, {}, [&](const std::string& known) {
    return std::pair(!known.contains(start), edits(start, known));
  });
  all.resize(std::min(all.size(), kShown));
  return all;
}

std::unexpected<Error> missing(const Catalogue& catalogue, std::string_view kind) {
  return fail(ErrorCode::kInvalidArgument, fmt::format("the machine has no {}: add one such as {}", kind,
                                                       fmt::join(catalogue.names(kind), ", ")));
}

/// The parts of a machine, sorted by kind.
struct Parts {
  std::vector<std::string> gpus;
  std::optional<std::string> disk;
  std::optional<MemoryName> memory;
  std::optional<CpuName> cpu;
};

template <typename T>
Status put_once(std::optional<T>& place, T value, std::string_view kind, std::string_view name) {
  if (place)
    return fail(ErrorCode::kInvalidArgument, fmt::format("'{}' is a second {}: name only one", name, kind));
  place = std::move(value);
  return {};
}

Result<Parts> sort_names(const Catalogue& catalogue, const std::vector<std::string>& names) {
  Parts parts;
  for (const std::string& name : names) {
    if (catalogue.has("gpu", name)) {
      parts.gpus.push_back(name);
    } else if (catalogue.has("disk", name)) {
      BRIMFUL_TRY_VOID(put_once(parts.disk, name, "disk", name));
    } else if (auto memory = parse_memory_name(name)) {
      BRIMFUL_TRY_VOID(put_once(parts.memory, std::move(*memory), "memory", name));
    } else if (const auto cpu = catalogue.find_cpu(name)) {
      BRIMFUL_TRY_VOID(put_once(parts.cpu, *cpu, "CPU", name));
    } else {
      return fail(ErrorCode::kInvalidArgument,
                  fmt::format("there is no hardware called '{:.64}'; similar names are {}", name,
                              fmt::join(nearest_names(catalogue, name), ", ")));
    }
  }
  if (!parts.memory) return missing(catalogue, "memory");
  if (!parts.disk) return missing(catalogue, "disk");
  return parts;
}

Result<Profile> machine_of(const Catalogue& catalogue, std::string_view spec) {
  const std::vector<std::string> names = names_of(spec);
  BRIMFUL_TRY(const Parts parts, sort_names(catalogue, names));
  Profile profile;
  profile.name = fmt::format("{}", fmt::join(names, ", "));
  BRIMFUL_TRY(profile.ram, catalogue.ram(*parts.memory));
  BRIMFUL_TRY(profile.disk, catalogue.disk(*parts.disk));
  for (const std::string& name : parts.gpus) {
    BRIMFUL_TRY(Gpu gpu, catalogue.gpu(name));
    profile.gpus.push_back(std::move(gpu));
  }
  BRIMFUL_TRY(const CpuName usual, catalogue.usual_cpu());
  BRIMFUL_TRY(profile.cpu, catalogue.cpu(parts.cpu.value_or(usual)));
  BRIMFUL_TRY(const std::optional<double> most_read,
              catalogue.most_read_bytes_per_s(parts.cpu.value_or(usual)));
  if (most_read) profile.ram.read_bytes_per_s = std::min(profile.ram.read_bytes_per_s, *most_read);
  if (!parts.cpu) profile.name += fmt::format(", {}c{}t", usual.cores, usual.threads);
  BRIMFUL_TRY(profile.compute, catalogue.compute(profile.cpu.cores, profile.ram));
  return profile;
}

std::string gigabytes(double bytes_per_s) { return fmt::format("{:.4g} GB/s", bytes_per_s / 1e9); }

Result<std::string> figures_of(const Catalogue& catalogue, std::string_view kind, const std::string& name) {
  if (kind == "gpu") {
    BRIMFUL_TRY(const Gpu gpu, catalogue.gpu(name));
    return fmt::format("{} at {}, PCIe {}.0 x{}", format_bytes(gpu.total), gigabytes(*gpu.memory_bytes_per_s),
                       *gpu.pcie_generation, *gpu.pcie_width);
  }
  if (kind == "disk") {
    BRIMFUL_TRY(const Disk disk, catalogue.disk(name));
    return fmt::format("{}, {}", disk.kind, gigabytes(disk.best_bytes_per_s()));
  }
  const auto memory = parse_memory_name(name);
  if (kind == "memory" && memory) {
    BRIMFUL_TRY(const Ram ram, catalogue.ram(*memory));
    return fmt::format("{}, reads {}", *ram.kind, gigabytes(ram.read_bytes_per_s));
  }
  const auto cpu = catalogue.find_cpu(name);
  if (kind != "cpu" || !cpu) return fail(ErrorCode::kCorrupt, fmt::format("'{}' is not a {}", name, kind));
  BRIMFUL_TRY(const Cpu found, catalogue.cpu(*cpu));
  return fmt::format("{}, {}", found.model, fmt::join(found.instruction_sets, " "));
}

Result<std::string> read_whole(const std::filesystem::path& path) {
  constexpr std::streamsize kLargest = 4 << 20;
  std::error_code error;
  if (!std::filesystem::exists(path, error))
    return fail(ErrorCode::kNotFound, fmt::format("{}: no such file", path.string()));
  std::ifstream in(path, std::ios::binary);
  std::string text(kLargest + 1, '\0');
  in.read(text.data(), kLargest + 1);
  if (in.bad() || !in.is_open() || std::filesystem::is_directory(path, error))
    return fail(ErrorCode::kIo, fmt::format("{}: it cannot be read", path.string()));
  if (in.gcount() > kLargest)
    return fail(ErrorCode::kCorrupt, fmt::format("{}: too large to be a hardware file", path.string()));
  text.resize(static_cast<std::size_t>(in.gcount()));
  return text;
}

Result<Profile> parse_toml_machine(std::string_view text, const std::string& name) {
  BRIMFUL_TRY(const nlohmann::json groups, parse_toml(text, name));
  const auto machine = groups.find("machine");
  if (machine == groups.end() || !machine->is_string())
    return fail(ErrorCode::kCorrupt, fmt::format("{}: it needs a line such as machine = \"64gb-ddr4-3600, "
                                                 "nvme-gen3\"",
                                                 name));
  BRIMFUL_TRY(Catalogue catalogue, Catalogue::built_in());
  catalogue.add(groups);
  auto profile = machine_of(catalogue, machine->get<std::string>());
  if (!profile) return fail(profile.error().code, fmt::format("{}: {}", name, profile.error().message));
  return profile;
}

}  // namespace

std::vector<Preset> list_presets() {
  std::vector<Preset> presets;
  const auto catalogue = Catalogue::built_in();
  if (!catalogue) return presets;
  for (const std::string_view kind : kKinds) {
    for (const std::string& name : catalogue->names(kind)) {
      presets.push_back({std::string(kind), name, figures_of(*catalogue, kind, name).value_or(""),
                         catalogue->source(kind, name)});
    }
  }
  return presets;
}

Result<Profile> machine_like(std::string_view spec) {
  BRIMFUL_TRY(const Catalogue catalogue, Catalogue::built_in());
  return machine_of(catalogue, spec);
}

Result<Profile> read_hardware_file(const std::filesystem::path& path) {
  BRIMFUL_TRY(const std::string text, read_whole(path));
  if (!trim(text).starts_with('{')) return parse_toml_machine(text, path.string());
  auto profile = parse_profile(text);
  if (!profile)
    return fail(profile.error().code, fmt::format("{}: {}", path.string(), profile.error().message));
  return profile;
}

}  // namespace brimful::hardware
