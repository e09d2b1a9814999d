#pragma once

#include <array>
#include <span>
#include <string>
#include <string_view>

#include "engine/engine.h"
#include "plan/device_split.h"

namespace brimful::cli {

/// Who holds memory of a tier: as it is called in JSON, in pictures, and by people.
struct OwnerName {
  std::string_view key;
  char letter;
  std::string_view name;
};
inline constexpr std::array<OwnerName, 8> kOwnerNames{{{"weights", 'W', "weights"},
                                                       {"experts", 'E', "experts"},
                                                       {"ring", 'R', "ring"},
                                                       {"kv_cache", 'K', "KV cache"},
                                                       {"compute", 'C', "compute"},
                                                       {"draft_model", 'D', "draft"},
                                                       {"runtime", 'P', "program"},
                                                       {"unused", '.', "unused"}}};

struct TierPart {
  std::string_view key;  ///< of kOwnerNames
  Bytes bytes;
  std::string note;
};

/// A bar, and a row for each part that adds up to the budget.
[[nodiscard]] std::string draw_tier(std::string_view title, Bytes budget, std::span<const TierPart> parts,
                                    int width = 78);

/// The memory map as people see it: a bar, a row for each owner that adds up to the budget, and what lies
/// where layer by layer. Plain text, `width` columns.
[[nodiscard]] std::string draw_memory_map(const plan::MemoryMap& map, int width = 78);

/// The same for a GPU.
[[nodiscard]] std::string draw_device_map(const plan::DeviceShare& device, int width = 78);

}  // namespace brimful::cli
