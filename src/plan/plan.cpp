#include "plan/plan.h"

#include <fmt/format.h>

namespace brimful::plan {
namespace {

/// The shares of each device's budget that are tried: for a small model, handing work to a device can cost
/// more than it saves.
constexpr double kSharesOfDevices[] = {0.9, 0.75, 0.6, 0.5, 0.4, 0.25, 0.1, 0};

/// Errors: kInfeasible where a device's driver, kernels and compute buffers alone pass its budget.
Status check_devices(const Inputs& inputs) {
  for (const DeviceBudget& device : inputs.devices) {
    const Bytes least = device.gpu.runtime.value_or(kUnknownRuntime) + inputs.run.demand.compute;
    if (least > device.budget) {
      return fail(
          ErrorCode::kInfeasible,
          fmt::format("{} needs {} for its driver, kernels and compute buffers, and {} gives it {}: {} are "
                      "missing; give it more, use a smaller {}, or leave it out",
                      device.name, format_bytes(least), inputs.names.vram, format_bytes(device.budget),
                      format_bytes(least - device.budget), inputs.names.ubatch));
    }
  }
  return {};
}

/// Makes a plan that uses at most `share` of what each device has for weights.
Result<Plan> plan_with(const Inputs& inputs, double share) {
  Plan out;
  std::vector<DeviceBudget> devices = inputs.devices;
  for (DeviceBudget& device : devices) {  // as a run does it
    if (inputs.workload.sequences > 1) break;
    if (const auto rates = step_rates(inputs.profile, inputs.machine, device.gpu))
      device.step_costs = step_costs(*rates, inputs.run.decode);
  }
  out.devices = split_devices(inputs.profile, inputs.run.demand, devices, share, inputs.placement_filter);
  out.host = inputs.run;
  out.host.budget = inputs.host_budget;
  out.host.demand = out.devices.host;
  HostDemand& demand = out.host.demand;
  auto placement =
      place(inputs.profile, demand.uses, demand.for_weights(inputs.host_budget), demand.bookkeeping);
  if (!placement) {
    demand.least_for_weights = smallest_budget(inputs.profile, demand.uses, demand.bookkeeping);
    const Bytes least = demand.least();
    return fail(ErrorCode::kInfeasible, fmt::format("the host needs at least {} and has {}: {} are missing",
                                                    format_bytes(least), format_bytes(inputs.host_budget),
                                                    format_bytes(saturating_sub(least, inputs.host_budget))));
  }
  out.host.placement = std::move(*placement);
  out.forecast =
      forecast(inputs.profile, out.host, out.devices, inputs.machine, inputs.workload, inputs.open_seconds);
  return out;
}

}  // namespace

Result<Plan> make_plan(const Inputs& inputs) {
  BRIMFUL_TRY_VOID(check_devices(inputs));
  auto best = plan_with(inputs, 1);
  if (inputs.devices.empty()) return best;
  for (const double share : kSharesOfDevices) {
    auto other = plan_with(inputs, share);
    if (other && (!best || other->forecast.decode.seconds < best->forecast.decode.seconds))
      best = std::move(other);
  }
  return best;
}

}  // namespace brimful::plan
