#pragma once

#include "model/model_profile.h"

namespace brimful::fuzz {

/// Places the model's weights within its smallest budget and within larger ones, and checks the placements;
/// checks that a budget below the smallest one is refused. Aborts when a check fails. `choice` is random and
/// decides how the tensors are used. Large models are skipped.
void check_placement(const model::ModelProfile& profile, std::uint64_t choice);

}  // namespace brimful::fuzz
