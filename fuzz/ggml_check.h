#pragma once

#include "model/model_profile.h"

namespace brimful::fuzz {

/// Parses the model's virtual file with ggml's own parser, as libllama does, and compares the result with
/// the profile: keys, values, names, types, shapes and places. Aborts when ggml refuses the file or reads
/// something else.
void check_against_ggml(const model::ModelProfile& profile);

}  // namespace brimful::fuzz
