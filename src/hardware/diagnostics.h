#pragma once

#include <optional>
#include <string>
#include <vector>

#include "base/bytes.h"
#include "hardware/profile.h"

namespace brimful::hardware {

/// What of a model must be read.
struct ModelSize {
  Bytes weights;          ///< all of them
  Bytes experts = {};     ///< the part of `weights` that is chosen by routers
  double share_used = 1;  ///< of the experts, by a token: above 0, at most 1
};

/// What hurts on this machine, one plain sentence each, the worst first. With a model also what of it does
/// not fit. Figures that are absent, or rates that are 0 because nothing was measured, are passed over. Pure.
[[nodiscard]] std::vector<std::string> diagnostics(const Profile& profile,
                                                   const std::optional<ModelSize>& model);

}  // namespace brimful::hardware
