#include "hardware/host_budget.h"

#include <fmt/format.h>

#include <algorithm>

namespace brimful::hardware {
namespace {

// The possible difference between a process's own account and that of its cgroup: pages of libraries that
// other processes brought in, and kernel memory.
constexpr Bytes kDifferenceOfAccounts{16ULL << 20};

Bytes untaken(const std::vector<OtherInstance>& others) {
  Bytes sum;
  for (const OtherInstance& other : others) sum += other.untaken;
  return sum;
}

bool is_inside(const OtherInstance& other, const CgroupMemory& cgroup) {
  const std::string& path = other.memory_cgroup;
  // An unknown cgroup may be this one, so its memory counts.
  return path.empty() || cgroup.name.empty() || cgroup.name == "/" || path == cgroup.name ||
         path.starts_with(cgroup.name + "/");
}

std::vector<OtherInstance> those_inside(const std::vector<OtherInstance>& others,
                                        const CgroupMemory& cgroup) {
  std::vector<OtherInstance> out;
  std::ranges::copy_if(others, std::back_inserter(out),
                       [&](const OtherInstance& other) { return is_inside(other, cgroup); });
  return out;
}

/// Returns the memory that a cgroup leaves to this process, including what this process holds already.
Bytes left_in(const CgroupMemory& cgroup, const BudgetBounds& bounds) {
  const Bytes used = saturating_sub(cgroup.usage, cgroup.cache);
  const Bytes by_others = saturating_sub(used, bounds.own) + untaken(those_inside(bounds.others, cgroup));
  return saturating_sub(cgroup.limit, by_others);
}

/// Returns the memory that the machine and its cgroups leave to this process, including what this process
/// holds already.
Bytes left(const BudgetBounds& bounds) {
  Bytes out = saturating_sub(bounds.host.available + bounds.own, untaken(bounds.others));
  for (const CgroupMemory& cgroup : bounds.host.cgroups) out = std::min(out, left_in(cgroup, bounds));
  return out;
}

/// Describes the other instance that takes most, such as `brimful process 12 may use 3 GiB`, and says how
/// many more there are.
std::string describe(const std::vector<OtherInstance>& others) {
  const OtherInstance& largest = *std::ranges::max_element(others, {}, &OtherInstance::promised);
  return fmt::format("brimful process {} may use {}{}", largest.pid, format_bytes(largest.promised),
                     others.size() == 1 ? "" : fmt::format(", with {} more running", others.size() - 1));
}

HostBudget by_default(const BudgetBounds& bounds) {
  const Bytes free = left(bounds);
  const Bytes reserve{std::min(std::max(free.value / 20, 256 * kMiB.value), free.value / 2)};
  HostBudget out{Bytes{(free - reserve).value / (1 + bounds.starting)}, {}};
  if (bounds.starting > 0) {
    out.note = fmt::format("the host budget is {}: {} more process{} start{} now and get{} as much",
                           format_bytes(out.bytes), bounds.starting, bounds.starting == 1 ? "" : "es",
                           bounds.starting == 1 ? "s" : "", bounds.starting == 1 ? "s" : "");
  } else if (untaken(bounds.others) > Bytes{}) {
    out.note = fmt::format("the host budget is {}: {}", format_bytes(out.bytes), describe(bounds.others));
  }
  return out;
}

}  // namespace

HostBudget decide_host_budget(std::optional<Bytes> wanted, const BudgetBounds& bounds,
                              std::string_view name) {
  if (!wanted) return by_default(bounds);
  const std::string option = fmt::format("{} {}", name, format_bytes(*wanted));
  if (*wanted > bounds.host.total) {
    const Bytes budget = by_default(bounds).bytes;
    return {budget, fmt::format("{} is more than the machine has ({}): the host budget is {}, which is what "
                                "is free now, less a reserve",
                                option, format_bytes(bounds.host.total), format_bytes(budget))};
  }
  HostBudget out{*wanted, {}};
  const Bytes free = saturating_sub(bounds.host.available + bounds.own, untaken(bounds.others));
  if (*wanted > free && !bounds.others.empty()) {
    out = {free, fmt::format("{}: {}, so the host budget is {}", option, describe(bounds.others),
                             format_bytes(free))};
  } else if (*wanted > free) {
    out.note = fmt::format(
        "{} is more than the {} of memory that is free now: other programs may be swapped out, or killed by "
        "the kernel",
        option, format_bytes(free));
  }
  for (const CgroupMemory& cgroup : bounds.host.cgroups) {
    const Bytes left = left_in(cgroup, bounds);
    const Bytes by_others = saturating_sub(cgroup.limit, left);
    const bool shared = by_others > std::max(kDifferenceOfAccounts, Bytes{cgroup.limit.value / 32});
    const Bytes bound = shared ? left : cgroup.limit;
    if (bound >= out.bytes) continue;
    out = {bound, fmt::format(
                      "{}: the cgroup {} is limited to {}{}, so the host budget is {}", option, cgroup.path,
                      format_bytes(cgroup.limit),
                      shared ? fmt::format(", of which other processes use {}", format_bytes(by_others)) : "",
                      format_bytes(bound))};
  }
  return out;
}

}  // namespace brimful::hardware
