#pragma once

#include <optional>
#include <string>
#include <vector>

#include "base/bytes.h"
#include "hardware/profile.h"

namespace strata::hardware {

/// What hurts on this machine, one plain sentence each, the worst first. With `model_bytes` (of weights) also
/// what does not fit. Figures that are absent, or rates that are 0 because nothing was measured, are passed
/// over. Pure.
[[nodiscard]] std::vector<std::string> complaints(const Profile& profile, std::optional<Bytes> model_bytes);

}  // namespace strata::hardware
