#pragma once

#include <optional>
#include <string>
#include <vector>

#include "plan/forecast.h"

namespace brimful::plan {

/// Everything that a plan is made from.
struct Inputs {
  model::ModelProfile profile;
  HostPlan run;  ///< the shape of the context, its demand and its work; the placement is not looked at
  hardware::Profile machine;
  Bytes host_budget;
  std::optional<Bytes> most_host_budget = {};  ///< What others and cgroups leave; else what is available.
  std::vector<DeviceBudget> devices;
  PlacementFilter placement_filter = {};  ///< of these
  Workload workload;
  double open_seconds = 0;  ///< until the header and the vocabulary are read
};

struct Plan {
  HostPlan host;  ///< with the host's share of demand, and the placement
  DeviceSplit devices;
  Forecast forecast;
};

/// Where everything lies, and how long it takes: the same answer for the same inputs. Pure.
/// Errors: kInfeasible: what is missing, in which tier.
[[nodiscard]] Result<Plan> make_plan(const Inputs& inputs);

}  // namespace brimful::plan
