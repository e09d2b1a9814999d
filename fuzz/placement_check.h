#pragma once

#include "model/model_profile.h"

namespace brimful::fuzz {

/// Plans the model at its smallest budget, below it and above. `choice` picks how its tensors are used.
void check_placement(const model::ModelProfile& profile, std::uint64_t choice);

}  // namespace brimful::fuzz
