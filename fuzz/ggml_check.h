#pragma once

#include "model/model_profile.h"

namespace brimful::fuzz {

/// Stops where ggml does not read the file that libllama will be given, or reads something else than we did:
/// keys, values, names, types, shapes, places.
void check_against_ggml(const model::ModelProfile& profile);

}  // namespace brimful::fuzz
