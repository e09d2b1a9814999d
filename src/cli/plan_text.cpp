#include <fmt/format.h>

#include <algorithm>

#include "cli/memory_map.h"
#include "cli/model_listing.h"
#include "cli/plan_output.h"
#include "cli/probe_text.h"
#include "model/gguf_reader.h"

namespace brimful::cli {
namespace {

constexpr std::size_t kMostChanges = 16;

std::string duration(double seconds) {
  if (seconds < 0.01) return fmt::format("{:.1f} ms", seconds * 1000);
  if (seconds < 1) return fmt::format("{:.0f} ms", seconds * 1000);
  if (seconds < 120) return fmt::format("{:.1f} s", seconds);
  return fmt::format("{:.1f} min", seconds / 60);
}

std::string machine_line(const PlanReport& report) {
  const hardware::Profile& m = report.inputs.machine;
  std::string out = fmt::format("machine  {}: {}, {} threads; {} of RAM", m.name, m.cpu.model,
                                m.compute.threads, format_bytes(m.ram.total));
  if (m.ram.read_bytes_per_s > 0) out += fmt::format(" at {}", rate_text(m.ram.read_bytes_per_s));
  if (!m.disk.reads.empty())
    out += fmt::format("; {} at {}", m.disk.kind, rate_text(m.disk.best_bytes_per_s()));
  for (const hardware::Gpu& gpu : m.gpus)
    out += fmt::format("; {} with {}", gpu.name, format_bytes(gpu.total));
  if (!m.measured.empty()) out += fmt::format(" (measured {})", m.measured);
  return out + '\n';
}

}  // namespace

std::string plan_text(const PlanReport& report) {
  const plan::Plan& p = report.plan;
  const plan::Forecast& f = p.forecast;
  const model::ModelProfile& profile = report.inputs.profile;
  const std::int64_t sequences = report.inputs.workload.sequences;
  std::string out = fmt::format("model    {} ({}): {} of weights, {} parameters\n",
                                model::in_quotes(profile.name), profile.architecture,
                                format_bytes(profile.weight_bytes()), parameters_text(profile.parameters));
  out += machine_line(report);
  out += fmt::format("context  {} tokens{}, ubatch {}\n", p.host.context,
                     sequences > 1 ? fmt::format(" for {} sequences", sequences) : "", p.host.ubatch);
  for (const std::string& note : report.notes) out += fmt::format("note: {}\n", note);
  for (const std::string& complaint : report.diagnostics) out += fmt::format("warning: {}\n", complaint);

  out += "\nIt fits.\n";
  for (const plan::DeviceShare& device : p.devices.devices) out += draw_device_map(device);
  out += draw_memory_map(p.host.memory_map(profile));

  const bool experts = f.decode.reads > p.host.placement.streamed_per_pass;
  const std::string reads =
      f.decode.reads == Bytes{}
          ? ""
          : fmt::format(" ({} reads {}{} from the disk)", sequences > 1 ? "a pass" : "each token",
                        experts ? "about " : "", format_bytes(f.decode.reads));
  out += fmt::format("\ndecode   {:.2f} tokens/s{}: {} a pass, bound by {}{}\n", f.decode_tokens_per_second,
                     sequences > 1 ? fmt::format(" for {} together", sequences) : "",
                     duration(f.decode.seconds), to_string(f.decode.bound_by()), reads);
  if (!f.drafted.empty()) {
    std::string rates;
    for (const plan::DraftedPass& pass : f.drafted)
      rates += fmt::format("{}{:.2f} tokens/s with {}", rates.empty() ? "" : ", ", pass.tokens_per_second,
                           pass.accepted);
    out += fmt::format("drafts   {} accepted tokens a pass; the text decides how many are accepted\n", rates);
  }
  if (!p.host.placement.groups.empty() ||
      std::ranges::any_of(p.devices.devices, [](const auto& device) { return !device.groups.empty(); }))
    out += "experts  each counts as likely as another; those of real texts are found in memory more often\n";
  if (f.decode.rows_sent > Bytes{}) {
    out += fmt::format(
        "rows     {} of the host's weights cross the link for each {}, while the cores use the others\n",
        format_bytes(f.decode.rows_sent), sequences > 1 ? "pass" : "token");
  }
  out +=
      fmt::format("prompt   {:.1f} tokens/s: {} to the first token of an answer to {} tokens, bound by {}\n",
                  f.prompt_tokens_per_second, duration(f.first_token_seconds),
                  report.inputs.workload.prompt_tokens, to_string(f.prompt.bound_by()));
  out += fmt::format("load     {}\n", duration(f.load_seconds));
  if (!p.devices.devices.empty()) out += "note: the figures for VRAM are forecasts, not measured\n";

  if (report.changes.empty()) return out;
  out += "\nWhat would be faster (decode speed, compared with this plan)\n";
  for (std::size_t i = 0; i < std::min(report.changes.size(), kMostChanges); ++i) {
    const plan::Change& change = report.changes[i];
    out += fmt::format("  {:>7.2f} tokens/s  x{:<5.2f} {}{}{}\n", change.decode_tokens_per_second,
                       change.factor, change.what,
                       change.weights.value > 0 ? fmt::format(", {}", format_bytes(change.weights)) : "",
                       change.note.empty() ? "" : fmt::format(" ({})", change.note));
  }
  return out;
}

}  // namespace brimful::cli
