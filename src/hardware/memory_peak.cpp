#include "hardware/memory_peak.h"

#include <algorithm>
#include <fstream>

#include "hardware/host_memory.h"

namespace brimful::hardware {
namespace {

/// Resets VmHWM to the memory that is resident now. Returns whether the kernel did it.
bool set_own_mark_back() {
  std::ofstream file("/proc/self/clear_refs");
  file << "5";
  file.close();
  return static_cast<bool>(file);
}

/// Resets the peak marks of version 1 cgroups, if this process may. Version 2 keeps a mark of its own for
/// each open file.
void set_cgroup_marks_back(Bytes budget) {
  const auto host = read_host_memory();
  if (!host) return;
  for (const CgroupMemory& cgroup : host->cgroups) {
    if (cgroup.limit > budget) continue;
    std::ofstream file(cgroup.path + "/memory.max_usage_in_bytes", std::ios::in | std::ios::out);
    file << "0";
  }
}

}  // namespace

MemoryPeak::MemoryPeak(Bytes budget) : budget_(budget), cgroup_before_(cgroup_peak_bytes(budget)) {}

std::optional<Bytes> MemoryPeak::peak() const {
  const auto cgroup = cgroup_peak_bytes(budget_);
  std::optional<Bytes> out;
  if (cgroup && (!cgroup_before_ || *cgroup > *cgroup_before_)) {
    out = cgroup;
  } else if (own_mark_is_new_) {
    if (auto process = read_process_memory()) {
      process->resident = process->peak;
      out = held_bytes(*process);
    }
  }
  return out && at_least_ ? std::max(*out, *at_least_) : out;
}

BudgetPeak MemoryPeak::begin(Bytes budget, std::optional<Bytes> at_least) {
  const BudgetPeak ended{budget_, peak()};
  budget_ = budget;
  at_least_ = at_least;
  own_mark_is_new_ = set_own_mark_back();
  set_cgroup_marks_back(budget);
  cgroup_before_ = cgroup_peak_bytes(budget);
  return ended;
}

}  // namespace brimful::hardware
