#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "plan/device_split.h"

namespace brimful::plan {

/// What the flags -ngl, --n-cpu-moe and -ot REGEX=DEVICE[,REGEX=DEVICE] forbid. They mean the same as in
/// llama.cpp, but -ngl counts layers from the first one on, as layers are distributed here. Of the overrides,
/// the first one that matches a tensor counts.
/// `devices` are the devices that have a budget; an override may name one of them, or CPU. The result is
/// empty where no flag was given. `rules_name` is what the face calls the overrides, for messages. Errors:
/// kInvalidArgument.
[[nodiscard]] Result<PlacementFilter> placement_rules(std::optional<std::uint32_t> gpu_layers,
                                                      std::optional<std::uint32_t> cpu_moe_layers,
                                                      const std::vector<std::string>& overrides,
                                                      const std::vector<std::string>& devices,
                                                      std::string_view rules_name);

}  // namespace brimful::plan
