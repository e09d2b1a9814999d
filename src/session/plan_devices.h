#pragma once

#include <optional>
#include <string>
#include <vector>

#include "hardware/profile.h"
#include "plan/device_split.h"
#include "plan/option_names.h"
#include "session/devices.h"
#include "session/open_options.h"

namespace brimful::session {

/// The GPUs of a plan. They need not exist: only their facts in a profile count.
struct PlanDevices {
  std::vector<plan::DeviceBudget> budgets;
  /// Notes for people on GPUs that stay unused, and those of card_budget().
  std::vector<std::string> notes;
};

/// Gives the GPUs of `machine` the budgets of `parts`: each part names a GPU (`CUDA0`, `CUDA1`, ...), or is
/// the budget of the next one. Where `parts` is unset, the plan uses no GPU of this machine, and all free
/// memory of all GPUs of another one (`elsewhere`). A budget of 0 bytes leaves its GPU out; card_budget()
/// decides about the others. Pure. Errors: kInvalidArgument for a GPU that `machine` does not have; those of
/// card_budget().
[[nodiscard]] Result<PlanDevices> plan_devices(const std::optional<std::vector<VramPart>>& parts,
                                               const hardware::Profile& machine, bool elsewhere,
                                               const plan::OptionNames& names);

}  // namespace brimful::session
