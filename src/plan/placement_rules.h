#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "base/result.h"
#include "plan/device_split.h"

namespace brimful::plan {

/// What -ngl, --n-cpu-moe and -ot REGEX=DEVICE[,REGEX=DEVICE] forbid, as llama.cpp means them; but layers
/// count from the first, as they are dealt out here. Of overrides the first that matches counts. Unset where
/// none was given. `devices`: those that have a budget; an override may name one of them, or CPU. Errors:
/// kInvalidArgument.
[[nodiscard]] Result<PlacementFilter> placement_rules(std::optional<std::uint32_t> gpu_layers,
                                                      std::optional<std::uint32_t> cpu_moe_layers,
                                                      const std::vector<std::string>& overrides,
                                                      const std::vector<std::string>& devices);

}  // namespace brimful::plan
