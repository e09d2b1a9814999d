#pragma once

#include "plan/plan.h"

namespace brimful::plan {

/// The same model with other types: `types` has one for each tensor of the profile. The sizes follow from the
/// shapes, and the work of the graphs is divided anew among the types. Pure. Requires: the row length of each
/// tensor is a multiple of its type's block size.
[[nodiscard]] Inputs requantised(Inputs inputs, const std::vector<ggml_type>& types);

}  // namespace brimful::plan
