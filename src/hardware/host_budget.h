#pragma once

#include <sys/types.h>

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/bytes.h"
#include "hardware/host_memory.h"

namespace brimful::hardware {

/// Another process of this program that runs a model.
struct OtherInstance {
  pid_t pid = 0;
  /// The most memory that the process will hold.
  Bytes promised;
  /// The part of `promised` that the process does not hold yet. The kernel still counts it as free.
  Bytes untaken;
  /// The path of the process's memory cgroup below the controller's mount, such as `/a/b`. Empty when
  /// unknown.
  std::string memory_cgroup;
};

/// Everything that limits a host budget.
struct BudgetBounds {
  HostMemory host;
  /// The memory that this process holds already. It is part of the budget.
  Bytes own;
  /// The other instances that have decided how much memory they will take.
  std::vector<OtherInstance> others;
  /// The number of other instances that start at this moment and have not decided yet.
  std::uint32_t starting = 0;
};

/// A host budget, with a note for the user.
struct HostBudget {
  Bytes bytes;
  /// Set when the budget is not what the user would expect; it says why.
  std::optional<std::string> note;
};

/// Decides the host budget. Pure.
///
/// Without `wanted`, the budget is the memory that the machine and its cgroups leave free, less the memory
/// that other instances will still take, less a reserve for everything else that runs. The reserve is 5% of
/// the rest, at least 256 MiB, but never more than half of it. The instances that start now share the result
/// evenly.
///
/// With `wanted`, which is what the user asks for, the budget is that number, lowered to the limit of a
/// cgroup, to what other processes leave in that cgroup, and to what other instances leave. A number above
/// the whole machine's memory is treated as if it were not given. `name` is what the note calls it.
[[nodiscard]] HostBudget decide_host_budget(std::optional<Bytes> wanted, const BudgetBounds& bounds,
                                            std::string_view name);

}  // namespace brimful::hardware
