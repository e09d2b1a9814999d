#pragma once

#include <sys/types.h>

#include <optional>
#include <string>
#include <vector>

#include "base/bytes.h"
#include "hardware/host_memory.h"

namespace brimful::hardware {

/// Another process of this program that runs a model.
struct OtherInstance {
  pid_t pid = 0;
  Bytes promised;             ///< The most that it will hold.
  Bytes untaken;              ///< What of that it does not hold yet: the kernel still counts it as free.
  std::string memory_cgroup;  ///< Its path below the controller's mount, such as `/a/b`. Empty: not known.
};

/// All that bounds a host budget.
struct BudgetBounds {
  HostMemory host;
  Bytes own;                          ///< What this process holds already; it is part of the budget.
  std::vector<OtherInstance> others;  ///< Those that have decided what they will take.
  std::uint32_t starting = 0;         ///< Others that start at this moment and have not decided yet.
};

struct HostBudget {
  Bytes bytes;
  std::optional<std::string> note;  ///< Set where the budget is not what the user would expect: says why.
};

/// Decides the host budget. Pure.
///
/// Without `wanted`: what the machine and its cgroups leave free, less what other instances will still take,
/// less a reserve of 5% of it (at least 256 MiB, or half of a small
/// amount) for everything else that runs, shared evenly with the instances that start now.
///
/// With `wanted` (the user's --ram): that, lowered to the limit of a cgroup, to what others leave in that
/// cgroup, and to what other instances leave. More than the whole machine has counts as no wish.
[[nodiscard]] HostBudget decide_host_budget(std::optional<Bytes> wanted, const BudgetBounds& bounds);

}  // namespace brimful::hardware
