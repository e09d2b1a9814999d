#include "hardware/cpu.h"

#include <algorithm>
#include <array>
#include <functional>
#include <set>
#include <utility>

#include "hardware/compute_threads.h"
#include "hardware/host_memory.h"
#include "hardware/system_text.h"

namespace brimful::hardware {
namespace {

namespace fs = std::filesystem;

struct InstructionSet {
  std::string_view flag;  // The kernel's name.
  std::string_view name;  // ggml's name.
};

constexpr std::array<InstructionSet, 16> kInstructionSets{{
    {"sse4_2", "SSE4.2"},
    {"avx", "AVX"},
    {"avx2", "AVX2"},
    {"fma", "FMA"},
    {"f16c", "F16C"},
    {"avx_vnni", "AVX_VNNI"},
    {"avx512f", "AVX512F"},
    {"avx512_vnni", "AVX512_VNNI"},
    {"avx512_bf16", "AVX512_BF16"},
    {"amx_int8", "AMX_INT8"},
    {"asimd", "NEON"},
    {"asimdhp", "FP16_VA"},
    {"asimddp", "DOTPROD"},
    {"i8mm", "MATMUL_INT8"},
    {"sve", "SVE"},
    {"sme", "SME"},
}};

struct Part {
  std::string_view implementer, part, name;
};

// On ARM the kernel reports only numbers.
constexpr std::array<Part, 12> kArmParts{{
    {"0x41", "0xd03", "ARM Cortex-A53"},
    {"0x41", "0xd05", "ARM Cortex-A55"},
    {"0x41", "0xd08", "ARM Cortex-A72"},
    {"0x41", "0xd0b", "ARM Cortex-A76"},
    {"0x41", "0xd0c", "ARM Neoverse N1"},
    {"0x41", "0xd40", "ARM Neoverse V1"},
    {"0x41", "0xd41", "ARM Cortex-A78"},
    {"0x41", "0xd44", "ARM Cortex-X1"},
    {"0x41", "0xd46", "ARM Cortex-A510"},
    {"0x41", "0xd47", "ARM Cortex-A710"},
    {"0x41", "0xd49", "ARM Neoverse N2"},
    {"0x41", "0xd4f", "ARM Neoverse V2"},
}};

std::vector<std::string> instruction_sets(std::string_view flags) {
  std::set<std::string_view> present;
  for (std::string_view flag = next_word(flags); !flag.empty(); flag = next_word(flags)) present.insert(flag);
  std::vector<std::string> names;
  for (const InstructionSet& set : kInstructionSets) {
    if (present.contains(set.flag)) names.emplace_back(set.name);
  }
  return names;
}

/// The first value of each line in /proc/cpuinfo, and the numbers of lines.
struct CpuLines {
  std::string_view model_name, board, hardware, implementer, part, flags;
  std::uint32_t processors = 0;
  std::uint32_t with_ids = 0;
  std::set<std::pair<std::string_view, std::string_view>> cores;
};

CpuLines collect(std::string_view text) {
  CpuLines lines;
  std::string_view package;
  const auto first = [](std::string_view& place, std::string_view value) {
    if (place.empty()) place = value;
  };
  while (!text.empty()) {
    const std::string_view line = next_line(text);
    const std::size_t colon = line.find(':');
    if (colon == std::string_view::npos) continue;
    const std::string_view key = trim(line.substr(0, colon));
    const std::string_view value = trim(line.substr(colon + 1));
    if (key == "processor") {
      ++lines.processors;
      package = {};
    } else if (key == "physical id") {
      package = value;
    } else if (key == "core id") {
      ++lines.with_ids;
      lines.cores.emplace(package, value);
    } else if (key == "model name") {
      first(lines.model_name, value);
    } else if (key == "Model") {
      first(lines.board, value);
    } else if (key == "Hardware") {
      first(lines.hardware, value);
    } else if (key == "CPU implementer") {
      first(lines.implementer, value);
    } else if (key == "CPU part") {
      // When there are several kinds of cores, this is mostly the kind of the larger, newer ones.
      lines.part = std::max(lines.part, value);
    } else if (key == "flags" || key == "Features") {
      first(lines.flags, value);
    }
  }
  return lines;
}

std::string model(const CpuLines& lines) {
  if (!lines.model_name.empty()) return std::string(lines.model_name);
  std::string_view part;
  for (const Part& known : kArmParts) {
    if (known.implementer == lines.implementer && known.part == lines.part) part = known.name;
  }
  const std::string_view board = lines.board.empty() ? lines.hardware : lines.board;
  if (part.empty() || board.empty()) return std::string(part.empty() ? board : part);
  return std::string(board) + " (" + std::string(part) + ")";
}

std::optional<double> read_quota(const fs::path& dir, bool v2) {
  if (v2) {
    const auto text = read_text(dir / "cpu.max");
    return text ? parse_cpu_max(*text) : std::nullopt;
  }
  const auto quota = read_text(dir / "cpu.cfs_quota_us");
  const auto period = read_text(dir / "cpu.cfs_period_us");
  return quota && period ? parse_cfs_quota(*quota, *period) : std::nullopt;
}

/// Calls `visit` with the folder of this process's own cgroup and of each above it.
void for_each_cpu_cgroup(const fs::path& root, const std::function<void(const fs::path&, bool v2)>& visit) {
  const auto text = read_text(root / "proc/self/cgroup");
  const auto cgroup = text ? parse_cgroup_path(*text, "cpu") : std::nullopt;
  if (!cgroup) return;
  const fs::path mount = root / (cgroup->v2 ? "sys/fs/cgroup" : "sys/fs/cgroup/cpu");
  // Inside a container the path may be that of the host. Then only the mount itself exists.
  for (fs::path path = fs::path(cgroup->path).relative_path();; path = path.parent_path()) {
    visit(mount / path, cgroup->v2);
    if (path.empty()) return;
  }
}

}  // namespace

Cpu parse_cpuinfo(std::string_view text) {
  const CpuLines lines = collect(text);
  Cpu cpu;
  cpu.model = model(lines);
  cpu.threads = std::max(1U, lines.processors);
  const bool all_have_ids = lines.with_ids == lines.processors && lines.with_ids > 0;
  cpu.cores = all_have_ids ? static_cast<std::uint32_t>(lines.cores.size()) : cpu.threads;
  cpu.instruction_sets = instruction_sets(lines.flags);
  return cpu;
}

std::optional<double> parse_cpu_max(std::string_view text) {
  const std::string_view quota = next_word(text);
  return parse_cfs_quota(quota, next_word(text));
}

std::optional<double> parse_cfs_quota(std::string_view quota, std::string_view period) {
  const auto used = parse_number(quota);  // `max` and -1 are not parsed as numbers.
  const auto of = parse_number(period);
  if (!used || !of || *used == 0 || *of == 0) return std::nullopt;
  return static_cast<double>(*used) / static_cast<double>(*of);
}

std::uint32_t usable_threads(std::uint32_t allowed, std::optional<double> quota) {
  if (!quota || *quota >= static_cast<double>(allowed)) return allowed;
  constexpr double kWorthAThread = 0.25;
  const auto whole = static_cast<std::uint32_t>(*quota);
  return std::max(1U, *quota - whole < kWorthAThread ? whole : whole + 1);
}

std::optional<double> read_cpu_quota(const fs::path& root) {
  std::optional<double> tightest;
  for_each_cpu_cgroup(root, [&](const fs::path& dir, bool v2) {
    const auto quota = read_quota(dir, v2);
    if (quota) tightest = tightest ? std::min(*tightest, *quota) : *quota;
  });
  return tightest;
}

std::uint64_t read_times_throttled(const fs::path& root) {
  std::uint64_t times = 0;
  for_each_cpu_cgroup(root, [&](const fs::path& dir, bool) {
    const auto text = read_text(dir / "cpu.stat");
    if (text) times += parse_field(*text, "nr_throttled").value_or(Bytes{}).value;
  });
  return times;
}

std::optional<std::uint64_t> parse_idle_ticks(std::string_view text,
                                              std::span<const std::uint32_t> processors) {
  std::uint64_t idle = 0;
  std::size_t found = 0;
  while (!text.empty()) {
    std::string_view line = next_line(text);  // `cpu3 USER NICE SYSTEM IDLE IOWAIT ..`
    const std::string_view name = next_word(line);
    if (!name.starts_with("cpu")) break;  // The lines of processors come first.
    const auto number = parse_number(name.substr(3));
    if (!number || std::ranges::find(processors, *number) == processors.end()) continue;
    ++found;
    for (int i = 0; i < 3; ++i) next_word(line);
    idle += parse_number(next_word(line)).value_or(0);
    idle += parse_number(next_word(line)).value_or(0);
  }
  return found == processors.size() && found > 0 ? std::optional(idle) : std::nullopt;
}

std::optional<std::uint64_t> read_idle_ticks(std::span<const std::uint32_t> processors,
                                             const fs::path& root) {
  const auto text = read_text(root / "proc/stat");
  return text ? parse_idle_ticks(*text, processors) : std::nullopt;
}

Cpu read_cpu(const fs::path& root) {
  const auto text = read_text(root / "proc/cpuinfo");
  Cpu cpu = text ? parse_cpuinfo(*text) : Cpu{};
  const auto allowed = static_cast<std::uint32_t>(allowed_processors().size());
  if (allowed > 0) cpu.threads = text ? std::min(cpu.threads, allowed) : allowed;
  cpu.threads = usable_threads(cpu.threads, read_cpu_quota(root));
  return cpu;
}

}  // namespace brimful::hardware
