#pragma once

#include "plan/plan.h"

namespace brimful::plan {

/// The same model with other types: `types` for each tensor of the profile. Sizes follow from the shapes;
/// what the graphs compute is divided anew among the types. Pure. Requires: each type fits its rows.
[[nodiscard]] Inputs requantised(Inputs inputs, const std::vector<ggml_type>& types);

}  // namespace brimful::plan
