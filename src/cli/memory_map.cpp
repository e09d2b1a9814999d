#include "cli/memory_map.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <vector>

namespace strata::cli {
namespace {

struct Row {
  char letter;
  std::string_view name;
  Bytes bytes;
  std::string note;
};

/// One character a slice of the budget; a part that exists has at least one.
std::string bar(std::span<const Row> rows, Bytes budget, int width) {
  std::string out;
  for (const Row& row : rows) {
    const double share =
        static_cast<double>(row.bytes.value) / static_cast<double>(std::max<std::uint64_t>(budget.value, 1));
    auto count = static_cast<int>(std::lround(share * width));
    if (row.bytes.value > 0) count = std::max(count, 1);
    out.append(static_cast<std::size_t>(count), row.letter);
  }
  out.resize(static_cast<std::size_t>(width), out.empty() ? ' ' : out.back());
  return out;
}

std::string table(std::string_view title, Bytes budget, std::span<const Row> rows, int width) {
  std::string out =
      fmt::format("{}, budget {}\n[{}]\n", title, format_bytes(budget), bar(rows, budget, width - 2));
  for (const Row& row : rows) {
    out += fmt::format("  {} {:<9}{:>16}  {:>5.1f}%  {}\n", row.letter, row.name, format_mib(row.bytes),
                       100.0 * static_cast<double>(row.bytes.value) /
                           static_cast<double>(std::max<std::uint64_t>(budget.value, 1)),
                       row.note);
  }
  return out + fmt::format("  = {:<9}{:>16}\n", "budget", format_mib(budget));
}

/// `0-3 #### 4 ..`: how much of each layer stays, as one digit of eight shades.
std::string layers(const plan::MemoryMap& map) {
  constexpr std::array<std::string_view, 9> kShades{" ", "▁", "▂", "▃", "▄", "▅", "▆", "▇", "█"};
  std::string out;
  for (const auto& [layer, share] : map.resident_share) {
    if (layer >= 0) out += kShades[static_cast<std::size_t>(std::lround(share * 8))];
  }
  return out;
}

}  // namespace

std::string draw_memory_map(const plan::MemoryMap& map, int width) {
  const std::string streams =
      map.streamed_per_pass.value == 0
          ? "nothing streams"
          : fmt::format("stages the {} that stream in each pass", format_bytes(map.streamed_per_pass));
  std::vector<Row> rows{
      {'W', "weights", map.resident_weights,
       fmt::format("resident, of {} in all", format_bytes(map.total_weights))},
      {'E', "experts", map.experts,
       fmt::format("cached, {} of {}", format_bytes(map.experts_in_slots), format_bytes(map.experts_total))},
      {'R', "ring", map.ring, streams},
      {'K', "KV cache", map.kv_cache, "and outputs"},
      {'C', "compute", map.compute, "buffers of the largest graph"},
      {'D', "draft", map.draft_model, "all of the draft model, resident"},
      {'P', "program", map.runtime, "code, vocabulary, heap, kernel, reserve"},
      {'.', "unused", map.unused,
       map.streamed_per_pass + map.experts_total > Bytes{} ? "too small for one more weight" : "not needed"},
  };
  std::erase_if(rows, [&](const Row& row) {
    return (row.letter == 'E' && map.experts_total.value == 0) ||
           (row.letter == 'D' && map.draft_model.value == 0);
  });
  std::string out = table("host memory", map.budget, rows, width);
  if (map.streamed_per_pass + map.experts_total > Bytes{})
    out += fmt::format("resident share by layer: {}\n", layers(map));
  return out;
}

std::string draw_device_map(const plan::DeviceShare& d, int width) {
  std::vector<Row> rows{
      {'W', "weights", d.weights, fmt::format("{} whole layers, {} tensors", d.layers, d.tensors.size())},
      {'R', "ring", d.ring, "stages weights that are sent for batches"},
      {'K', "KV cache", d.kv_cache, "of these layers"},
      {'C', "compute", d.compute, "buffers of the largest graph"},
      {'P', "program", d.runtime, "driver, kernels"},
      {'.', "unused", d.unused, "too small for one more weight, or not needed"},
  };
  if (d.ring == Bytes{}) std::erase_if(rows, [](const Row& row) { return row.letter == 'R'; });
  return table(fmt::format("{} memory ({})", d.name, d.gpu.name), d.budget, rows, width);
}

}  // namespace strata::cli
