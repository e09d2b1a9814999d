#pragma once

#include <optional>
#include <string>
#include <vector>

#include "base/bytes.h"
#include "hardware/profile.h"

namespace brimful::hardware {

/// How much of a model has to be read.
struct ModelSize {
  /// The size of all weights.
  Bytes weights;
  /// The part of `weights` that consists of experts, which routers choose.
  Bytes experts = {};
  /// The share of the experts that one token uses: above 0, at most 1.
  double share_used = 1;
};

/// Returns what slows this machine down and what to do about it, one sentence each, the worst first. With a
/// model, a sentence also says how much of it does not fit into memory. Unset figures, and rates that are 0
/// because nothing was measured, are left out. Pure.
[[nodiscard]] std::vector<std::string> diagnostics(const Profile& profile,
                                                   const std::optional<ModelSize>& model);

}  // namespace brimful::hardware
