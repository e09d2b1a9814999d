#pragma once

#include <brimful/model.h>

#include "model/model_profile.h"
#include "session/machine_facts.h"

namespace brimful::session {

/// Model::plan() for the model in `gguf` with that profile. `machine` is ContextOptions::machine; null where
/// it is unset. Errors: those of Model::plan().
[[nodiscard]] Result<Plan> library_plan(const std::filesystem::path& gguf, const model::ModelProfile& profile,
                                        const Budgets& budgets, const ContextOptions& context,
                                        const MachineFacts* machine, const PlanOptions& options);

}  // namespace brimful::session
