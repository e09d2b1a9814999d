#include <fmt/format.h>

#include <vector>

#include "cli/plan_output.h"

namespace brimful::cli {
namespace {

struct Part {
  std::string_view name;
  Bytes bytes;
  std::string_view colour;
};

struct Tier {
  std::string name;
  Bytes budget;
  std::vector<Part> parts;
};

constexpr int kWidth = 820;
constexpr int kLeft = 10;
constexpr int kBar = 800;
constexpr int kRow = 86;

constexpr std::string_view kWeights = "#3b6fb6";
constexpr std::string_view kExperts = "#6fa3dd";
constexpr std::string_view kRing = "#e0a030";
constexpr std::string_view kCache = "#4f9a62";
constexpr std::string_view kCompute = "#9a6fb0";
constexpr std::string_view kProgram = "#8a8a8a";
constexpr std::string_view kUnused = "#e8e8e8";

std::string escaped(std::string_view text) {
  std::string out;
  for (const char c : text) {
    if (c == '&')
      out += "&amp;";
    else if (c == '<')
      out += "&lt;";
    else if (c == '>')
      out += "&gt;";
    else
      out += c;
  }
  return out;
}

std::string draw(const Tier& tier, int top) {
  std::string out = fmt::format("<text x=\"{}\" y=\"{}\" class=\"h\">{}: {}</text>\n", kLeft, top + 14,
                                escaped(tier.name), format_bytes(tier.budget));
  double x = kLeft;
  double label = kLeft;
  for (const Part& part : tier.parts) {
    if (part.bytes.value == 0) continue;
    const double width = static_cast<double>(kBar) * static_cast<double>(part.bytes.value) /
                         static_cast<double>(std::max<std::uint64_t>(tier.budget.value, 1));
    out += fmt::format(
        "<rect x=\"{:.1f}\" y=\"{}\" width=\"{:.1f}\" height=\"26\" fill=\"{}\"><title>{} "
        "{}</title></rect>\n",
        x, top + 22, width, part.colour, part.name, format_bytes(part.bytes));
    const std::string text = fmt::format("{} {}", part.name, format_bytes(part.bytes));
    out += fmt::format(
        "<rect x=\"{0:.0f}\" y=\"{1}\" width=\"9\" height=\"9\" fill=\"{2}\"/><text x=\"{3:.0f}\" "
        "y=\"{4}\">{5}</text>\n",
        label, top + 55, part.colour, label + 13, top + 64, text);
    label += 26 + 6.2 * static_cast<double>(text.size());
    x += width;
  }
  return out;
}

}  // namespace

std::string plan_svg(const PlanReport& report) {
  const plan::Plan& p = report.plan;
  const plan::MemoryMap map = p.host.memory_map(report.inputs.profile);
  std::vector<Tier> tiers;
  tiers.reserve(p.devices.devices.size() + 1);
  for (const plan::DeviceShare& d : p.devices.devices) {
    tiers.push_back({fmt::format("{} ({})", d.name, d.gpu.name),
                     d.budget,
                     {{"weights", d.weights, kWeights},
                      {"experts", d.experts, kExperts},
                      {"ring", d.ring, kRing},
                      {"KV cache", d.kv_cache, kCache},
                      {"compute", d.compute, kCompute},
                      {"driver", d.runtime, kProgram},
                      {"unused", d.unused, kUnused}}});
  }
  tiers.push_back({"host memory",
                   map.budget,
                   {{"weights", map.resident_weights, kWeights},
                    {"experts", map.experts, kExperts},
                    {"ring", map.ring, kRing},
                    {"KV cache", map.kv_cache, kCache},
                    {"compute", map.compute, kCompute},
                    {"draft", map.draft_model, kExperts},
                    {"program", map.runtime, kProgram},
                    {"unused", map.unused, kUnused}}});
  const Bytes on_disk = map.streamed_per_pass + saturating_sub(map.experts_total, map.experts_in_slots);
  tiers.push_back({"disk, read during each pass",
                   map.total_weights,
                   {{"streamed in each pass", map.streamed_per_pass, kRing},
                    {"experts read when they are chosen",
                     saturating_sub(map.experts_total, map.experts_in_slots), kExperts},
                    {"also in memory", saturating_sub(map.total_weights, on_disk), kUnused}}});
  const int height = 40 + kRow * static_cast<int>(tiers.size());
  std::string out = fmt::format(
      "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{0}\" height=\"{1}\" viewBox=\"0 0 {0} {1}\">\n"
      "<style>text{{font:11px sans-serif;fill:#222}}.h{{font-weight:bold;font-size:13px}}</style>\n"
      "<rect width=\"{0}\" height=\"{1}\" fill=\"white\"/>\n"
      "<text x=\"{2}\" y=\"20\" class=\"h\">{3}: {4:.2f} tokens/s, bound by {5}</text>\n",
      kWidth, height, kLeft, escaped(report.inputs.profile.name), p.forecast.decode_tokens_per_second,
      to_string(p.forecast.decode.bound_by()));
  int top = 34;
  for (const Tier& tier : tiers) {
    out += draw(tier, top);
    top += kRow;
  }
  return out + "</svg>\n";
}

}  // namespace brimful::cli
