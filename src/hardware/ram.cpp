#include "hardware/ram.h"

#include <algorithm>

#include "hardware/host_memory.h"
#include "hardware/memory_modules.h"
#include "hardware/system_text.h"

namespace brimful::hardware {

Result<Ram> read_ram(const std::filesystem::path& root) {
  BRIMFUL_TRY(const HostMemory host, read_host_memory(root));
  Ram ram;
  ram.total = host.total;
  ram.available = host.available;
  for (const CgroupMemory& cgroup : host.cgroups)
    ram.cgroup_limit = ram.cgroup_limit ? std::min(*ram.cgroup_limit, cgroup.limit) : cgroup.limit;
  if (const auto meminfo = read_text(root / "proc/meminfo")) {
    ram.swap_total = parse_field(*meminfo, "SwapTotal").value_or(Bytes{});
    ram.swap_used =
        saturating_sub(ram.swap_total, parse_field(*meminfo, "SwapFree").value_or(ram.swap_total));
  }
  if (auto modules = read_memory_modules(root)) {
    ram.kind = std::move(modules->kind);
    ram.mega_transfers_per_s = modules->mega_transfers_per_s;
    ram.rated_mega_transfers_per_s = modules->rated_mega_transfers_per_s;
    ram.modules = modules->count;
  }
  return ram;
}

}  // namespace brimful::hardware
