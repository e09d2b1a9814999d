#include "hardware/host_memory.h"

#include <fmt/format.h>

#include <algorithm>
#include <set>
#include <sstream>

#include "hardware/system_text.h"

namespace brimful::hardware {
namespace {

namespace fs = std::filesystem;

std::optional<CgroupMemory> read_cgroup(const fs::path& dir, bool v2) {
  const auto limit_text = read_text(dir / (v2 ? "memory.max" : "memory.limit_in_bytes"));
  const auto usage_text = read_text(dir / (v2 ? "memory.current" : "memory.usage_in_bytes"));
  const auto stat = read_text(dir / "memory.stat");
  if (!limit_text || !usage_text || !stat) return std::nullopt;
  const auto limit = parse_limit(*limit_text);
  const auto usage = parse_number(*usage_text);
  if (!limit || !usage) return std::nullopt;
  const Bytes files = parse_field(*stat, v2 ? "file" : "total_cache").value_or(Bytes{});
  const Bytes shared = parse_field(*stat, v2 ? "shmem" : "total_shmem").value_or(Bytes{});
  const Bytes cache = saturating_sub(files, shared);  // The kernel counts shared memory among the files.
  const auto peak_text =
      // v2 has the file since Linux 5.19.
      read_text(dir / (v2 ? "memory.peak" : "memory.max_usage_in_bytes"));
  const auto peak = peak_text ? parse_number(*peak_text) : std::nullopt;
  return CgroupMemory{
      dir.string(), *limit, Bytes{*usage}, cache, peak ? std::optional(Bytes{*peak}) : std::nullopt, {}};
}

Bytes mapped_file_bytes(std::string_view maps) {
  std::set<std::string> paths;
  while (!maps.empty()) {
    const std::string_view line = next_line(maps);
    const std::size_t slash = line.find(" /");
    if (slash != std::string_view::npos) paths.emplace(line.substr(slash + 1));
  }
  Bytes total;
  for (const std::string& path : paths) {
    std::error_code error;
    const auto size = fs::file_size(path, error);
    if (!error) total += Bytes{size};
  }
  return total;
}

}  // namespace

std::optional<CgroupPath> parse_cgroup_path(std::string_view text, std::string_view controller) {
  std::optional<CgroupPath> unified;
  while (!text.empty()) {
    const std::string_view line = next_line(text);
    const std::size_t first = line.find(':');
    const std::size_t second = first == std::string_view::npos ? first : line.find(':', first + 1);
    if (second == std::string_view::npos) continue;
    const std::string_view controllers = line.substr(first + 1, second - first - 1);
    const std::string path(line.substr(second + 1));
    if (controllers.empty()) unified = CgroupPath{true, path};
    std::stringstream list{std::string(controllers)};
    for (std::string name; std::getline(list, name, ',');) {
      if (name == controller) return CgroupPath{false, path};
    }
  }
  return unified;
}

std::optional<Bytes> parse_field(std::string_view text, std::string_view key) {
  while (!text.empty()) {
    std::string_view line = next_line(text);
    if (!line.starts_with(key)) continue;
    line.remove_prefix(key.size());
    if (line.starts_with(':')) line.remove_prefix(1);
    // The line has a longer key.
    if (line.empty() || (line.front() != ' ' && line.front() != '\t')) continue;
    const auto value = parse_number(line);
    if (!value) return std::nullopt;
    return line.ends_with(" kB") ? Bytes{*value * 1024} : Bytes{*value};
  }
  return std::nullopt;
}

std::optional<Bytes> parse_limit(std::string_view text) {
  const auto value = parse_number(text);
  constexpr std::uint64_t kNoLimit = 1ULL << 60;  // v1 writes LONG_MAX, rounded down to a page.
  if (!value || *value >= kNoLimit) return std::nullopt;
  return Bytes{*value};
}

Result<HostMemory> read_host_memory(const fs::path& root) {
  const auto meminfo = read_text(root / "proc/meminfo");
  const auto total = meminfo ? parse_field(*meminfo, "MemTotal") : std::nullopt;
  const auto available = meminfo ? parse_field(*meminfo, "MemAvailable") : std::nullopt;
  if (!total || !available)
    return fail(ErrorCode::kIo, "cannot read MemTotal and MemAvailable in /proc/meminfo: mount /proc");

  HostMemory memory{*total, *available, {}};
  const auto cgroup_text = read_text(root / "proc/self/cgroup");
  const auto cgroup = cgroup_text ? parse_cgroup_path(*cgroup_text) : std::nullopt;
  if (!cgroup) return memory;
  const fs::path mount = root / (cgroup->v2 ? "sys/fs/cgroup" : "sys/fs/cgroup/memory");
  // Inside a container the path may be that of the host. Then only the mount itself exists.
  for (fs::path path = fs::path(cgroup->path).relative_path();; path = path.parent_path()) {
    if (auto found = read_cgroup(mount / path, cgroup->v2)) {
      found->name = (fs::path("/") / path).string();
      memory.cgroups.push_back(std::move(*found));
    }
    if (path.empty()) break;
  }
  return memory;
}

Result<ProcessMemory> read_process_memory(const fs::path& root) {
  const auto status = read_text(root / "proc/self/status");
  const auto maps = read_text(root / "proc/self/maps");
  const auto resident = status ? parse_field(*status, "VmRSS") : std::nullopt;
  if (!resident || !maps)
    return fail(ErrorCode::kIo, "cannot read this process's memory from /proc/self/status");
  return ProcessMemory{parse_field(*status, "VmHWM").value_or(*resident),
                       *resident,
                       parse_field(*status, "VmPTE").value_or(Bytes{}),
                       mapped_file_bytes(*maps),
                       static_cast<std::uint32_t>(parse_field(*status, "Threads").value_or(Bytes{1}).value),
                       parse_field(*status, "RssAnon").value_or(*resident)};
}

Bytes held_bytes(const ProcessMemory& process) {
  constexpr Bytes kThreadStructures{24 * 1024};  // The kernel stack and the task structure.
  return process.resident + process.page_tables + kThreadStructures * process.threads;
}

std::optional<Bytes> cgroup_peak_bytes(Bytes budget) {
  if (const auto host = read_host_memory()) {
    for (const CgroupMemory& cgroup : host->cgroups) {
      if (cgroup.limit <= budget && cgroup.peak) return cgroup.peak;
    }
  }
  return std::nullopt;
}

Bytes room(Bytes budget, const HostMemory& host, const ProcessMemory& process) {
  Bytes left = saturating_sub(budget, held_bytes(process));
  bool own_account = true;
  for (const CgroupMemory& cgroup : host.cgroups) {
    const Bytes own_cache = std::min(cgroup.cache, process.mapped_files);
    const Bytes used = saturating_sub(cgroup.usage, cgroup.cache) + own_cache;
    const Bytes free = saturating_sub(cgroup.limit, used);
    const bool replaces = own_account && cgroup.limit <= budget;
    left = replaces ? free : std::min(left, free);
    own_account = own_account && !replaces;
  }
  return left;
}

}  // namespace brimful::hardware
