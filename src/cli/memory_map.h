#pragma once

#include <string>

#include "engine/engine.h"
#include "plan/device_split.h"

namespace strata::cli {

/// The memory map as people see it: a bar, a row for each owner that adds up to the budget, and what lies
/// where layer by layer. Plain text, `width` columns.
[[nodiscard]] std::string draw_memory_map(const plan::MemoryMap& map, int width = 78);

/// The same for a GPU.
[[nodiscard]] std::string draw_device_map(const plan::DeviceShare& device, int width = 78);

}  // namespace strata::cli
