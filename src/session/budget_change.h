#pragma once

#include <brimful/budgets.h>

#include <vector>

#include "engine/engine.h"
#include "plan/option_names.h"

namespace brimful::session {

/// The names of the GPUs that the engine uses, in the order of their budgets.
[[nodiscard]] std::vector<std::string> names_in_use(const engine::Engine& engine);

/// Makes a change of budgets from `budgets`. A budget of a GPU without a name is for the next one of
/// `devices`, the names of the GPUs in use, that has no budget in `budgets` yet. `names` is what the face
/// calls the options, for messages. Errors: kInvalidArgument for a RAM budget of 0 bytes, for more budgets
/// than GPUs, and for a GPU that is named twice. Whether the GPUs are in use is found out by
/// Engine::change_budgets().
[[nodiscard]] Result<engine::BudgetChange> budget_change(const Budgets& budgets,
                                                         const std::vector<std::string>& devices,
                                                         const plan::OptionNames& names);

}  // namespace brimful::session
