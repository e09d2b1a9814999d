#pragma once

#include <array>
#include <span>
#include <string>
#include <string_view>

#include "engine/engine.h"
#include "plan/device_split.h"

namespace brimful::cli {

/// The names of one use of a tier's memory, such as weights.
struct TagName {
  std::string_view key;   ///< The name in JSON.
  char letter;            ///< The letter in bars.
  std::string_view name;  ///< The name for people.
};
/// All uses of memory, in the order in which they are shown.
inline constexpr std::array<TagName, 8> kTagNames{{{"weights", 'W', "weights"},
                                                   {"experts", 'E', "experts"},
                                                   {"ring", 'R', "ring"},
                                                   {"kv_cache", 'K', "KV cache"},
                                                   {"compute", 'C', "compute"},
                                                   {"draft_model", 'D', "draft"},
                                                   {"runtime", 'P', "program"},
                                                   {"unused", '.', "unused"}}};

/// The bytes of one use of a tier's memory, with a note for people.
struct TierPart {
  /// The key of an entry of kTagNames.
  std::string_view key;
  Bytes bytes;
  std::string note;
};

/// Draws a tier as plain text: a bar, and a row for each part. The parts add up to the budget. `width` is in
/// columns.
[[nodiscard]] std::string draw_tier(std::string_view title, Bytes budget, std::span<const TierPart> parts,
                                    int width = 78);

/// Draws the host tier of a plan as draw_tier() does. When weights stream or experts are cached, a last line
/// shows for each layer which share of it is resident.
[[nodiscard]] std::string draw_memory_map(const plan::MemoryMap& map, int width = 78);

/// Draws the tier of a GPU as draw_tier() does.
[[nodiscard]] std::string draw_device_map(const plan::DeviceShare& device, int width = 78);

}  // namespace brimful::cli
