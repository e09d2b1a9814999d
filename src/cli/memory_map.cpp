#include "cli/memory_map.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <vector>

namespace brimful::cli {
namespace {

const TagName& tag_name(std::string_view key) { return *std::ranges::find(kTagNames, key, &TagName::key); }

/// Draws a bar in which each character stands for a slice of the budget. A part that has bytes has at least
/// one character.
std::string bar(std::span<const TierPart> parts, Bytes budget, int width) {
  std::string out;
  for (const TierPart& part : parts) {
    const double share =
        static_cast<double>(part.bytes.value) / static_cast<double>(std::max<std::uint64_t>(budget.value, 1));
    auto count = static_cast<int>(std::lround(share * width));
    if (part.bytes.value > 0) count = std::max(count, 1);
    out.append(static_cast<std::size_t>(count), tag_name(part.key).letter);
  }
  out.resize(static_cast<std::size_t>(width), out.empty() ? ' ' : out.back());
  return out;
}

/// Draws one character for each layer, whose height is the share of the layer that is resident, in steps of
/// an eighth.
std::string layers(const plan::MemoryMap& map) {
  constexpr std::array<std::string_view, 9> kShades{" ", "▁", "▂", "▃", "▄", "▅", "▆", "▇", "█"};
  std::string out;
  for (const auto& [layer, share] : map.resident_share) {
    if (layer >= 0) out += kShades[static_cast<std::size_t>(std::lround(share * 8))];
  }
  return out;
}

}  // namespace

std::string draw_tier(std::string_view title, Bytes budget, std::span<const TierPart> parts, int width) {
  std::string out =
      fmt::format("{}, budget {}\n[{}]\n", title, format_bytes(budget), bar(parts, budget, width - 2));
  for (const TierPart& part : parts) {
    const TagName& name = tag_name(part.key);
    out += fmt::format("  {} {:<9}{:>16}  {:>5.1f}%  {}\n", name.letter, name.name, format_mib(part.bytes),
                       100.0 * static_cast<double>(part.bytes.value) /
                           static_cast<double>(std::max<std::uint64_t>(budget.value, 1)),
                       part.note);
  }
  return out + fmt::format("  = {:<9}{:>16}\n", "budget", format_mib(budget));
}

std::string draw_memory_map(const plan::MemoryMap& map, int width) {
  const std::string streams =
      map.streamed_per_pass.value == 0
          ? "nothing is streamed"
          : fmt::format("stages the {} that are streamed in each pass", format_bytes(map.streamed_per_pass));
  std::vector<TierPart> parts{
      {"weights", map.resident_weights,
       fmt::format("resident, of {} in all", format_bytes(map.total_weights))},
      {"experts", map.experts,
       fmt::format("cached, {} of {}", format_bytes(map.experts_in_slots), format_bytes(map.experts_total))},
      {"ring", map.ring, streams},
      {"kv_cache", map.kv_cache, "with output buffers"},
      {"compute", map.compute, "buffers of the largest graph"},
      {"draft_model", map.draft_model, "the whole draft model, resident"},
      {"runtime", map.runtime, "code, vocabulary, heap, kernel, reserve"},
      {"unused", map.unused,
       map.streamed_per_pass + map.experts_total > Bytes{} ? "too small for one more weight" : "not needed"},
  };
  std::erase_if(parts, [&](const TierPart& part) {
    return (part.key == "experts" && map.experts_total.value == 0) ||
           (part.key == "draft_model" && map.draft_model.value == 0);
  });
  std::string out = draw_tier("host memory", map.budget, parts, width);
  if (map.streamed_per_pass + map.experts_total > Bytes{})
    out += fmt::format("resident share by layer: {}\n", layers(map));
  return out;
}

namespace {

std::string experts_of(const plan::DeviceShare& device) {
  if (device.groups.empty()) return "";
  const auto [least, most] = std::ranges::minmax(device.groups, {}, &plan::CachedExperts::slots);
  const std::string slots = least.slots == most.slots ? std::to_string(most.slots)
                                                      : fmt::format("{} or {}", least.slots, most.slots);
  return fmt::format("cached, {} of each of {} layers", slots, device.groups.size());
}

}  // namespace

std::string draw_device_map(const plan::DeviceShare& d, int width) {
  std::vector<TierPart> parts{
      {"weights", d.weights, fmt::format("{} layers, {} tensors", d.layers, d.tensors.size())},
      {"experts", d.experts, experts_of(d)},
      {"ring", d.ring,
       d.rows.empty() ? "stages weights that are sent to the GPU for batches"
                      : "stages weights that are sent to the GPU for batches, and rows for each token"},
      {"kv_cache", d.kv_cache, fmt::format("of {} layers", d.layers_of_cells)},
      {"compute", d.compute, "buffers of the largest graph"},
      {"runtime", d.runtime, "driver, kernels"},
      {"unused", d.unused, "too small for one more weight, or not needed"},
  };
  std::erase_if(parts, [](const TierPart& part) {
    return part.bytes == Bytes{} && (part.key == "ring" || part.key == "experts");
  });
  return draw_tier(fmt::format("{} memory ({})", d.name, d.gpu.name), d.budget, parts, width);
}

}  // namespace brimful::cli
