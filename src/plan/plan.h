#pragma once

#include <optional>
#include <string>
#include <vector>

#include "plan/forecast.h"
#include "plan/option_names.h"

namespace brimful::plan {

/// Everything that a plan is made from.
struct Inputs {
  model::ModelProfile profile;
  /// The shape of the context, its demand and its work. make_plan() does not look at its placement.
  HostPlan run;
  hardware::Profile machine;
  Bytes host_budget;
  /// The largest host budget that other processes and cgroups allow. Unset: the available memory of
  /// `machine`.
  std::optional<Bytes> most_host_budget = {};
  std::vector<DeviceBudget> devices;
  /// Which weights may lie on which of the devices.
  PlacementFilter placement_filter = {};
  /// What messages call the options.
  OptionNames names = {};
  Workload workload;
  /// Time until the header and the vocabulary are read.
  double open_seconds = 0;
};

struct Plan {
  /// The host's share of the demand, and its placement.
  HostPlan host;
  DeviceSplit devices;
  Forecast forecast;
};

/// Decides where everything lies, and forecasts how long it takes. The same inputs give the same plan. Pure.
/// Errors: kInfeasible; the message says how much is missing, and in which tier.
[[nodiscard]] Result<Plan> make_plan(const Inputs& inputs);

}  // namespace brimful::plan
